-- Parents and their children: what a change of a child changes in its parent, in the same atomic step. This text follows
-- common.lua and precedes every script.
--
-- JOB .. parent has, beside what every job has:
--   family            ids of all children that it was submitted with, by their places, with spaces between
--   child:ID          a child's state and progress, with a space between; of an erased child nothing
--   some_completed    '1' when a child was completed
--   child_error       the error of the first child that failed, as JSON
--   end_seq           the event of its end
--   holds             '1' while its later children wait for the first one
-- JOB .. child has 'held' = '1' while it waits so: it is in WAITING, but not in its owner's line.

-- How many parents one housekeeping compares with their children, and how often (ms) it does so with each.
TREE.AT_ONCE, TREE.EVERY = 20, 60000

-- The ids of a job's children by their places; none unless it is a parent.
function TREE.family(id)
  local ids = {}
  for child in string.gmatch(redis.call('HGET', JOB .. id, 'family') or '', '%S+') do
    ids[#ids + 1] = child
  end
  return ids
end

-- A child's state and progress as its parent remembers them; nil of an erased one.
function TREE.state(parent, child)
  local found = redis.call('HGET', JOB .. parent, 'child:' .. child)
  if found then
    return string.match(found, '^(%S+) (%S+)$')
  end
end

-- The mean progress of a parent's children, those that have ended being done; and whether all have ended.
local function sum_up(parent)
  local sum, count, all_ended = 0, 0, true
  for _, child in ipairs(TREE.family(parent)) do
    local status, progress = TREE.state(parent, child)
    if status then
      count = count + 1
      sum = sum + (TERMINAL[status] and 1 or tonumber(progress))
      all_ended = all_ended and TERMINAL[status] == true
    end
  end
  return count > 0 and math.floor(sum / count * 10000) / 10000 or 1, all_ended
end

-- Appends an event to the parent's stream and writes fields into its record.
local function tell(parent, event, ...)
  local seq = redis.call('XADD', EVENTS .. parent, '*', 'event', event)
  redis.call('HSET', JOB .. parent, 'last_seq', seq, 'updated_at', NOW, ...)
  return seq
end

local function status_event(status, progress)
  return cjson.encode({type = 'status', status = status, progress = progress, message = MESSAGES[status]})
end

-- Whether a record must not expire. A job that ends tells its parent before it stops being a favourite.
local function is_kept(id)
  local job = redis.call('HMGET', JOB .. id, 'favourite', 'status')
  return job[1] == '1' and job[2] ~= FAILED and job[2] ~= CANCELLED
end

-- Ends a parent whose children have all ended, unless it has ended already. It is cancelled when it was cancelled itself,
-- else completed when a child is, else failed when a child is, else cancelled: its children were, one by one.
local function end_parent(parent)
  local job = redis.call('HMGET', JOB .. parent, 'status', 'cancel_requested', 'some_completed', 'child_error')
  if TERMINAL[job[1]] then
    return
  end
  local status, event, error = CANCELLED, '{"type":"cancelled"}', nil
  if job[2] == '1' then
    error = nil
  elseif job[3] then
    status, event = COMPLETED, '{"type":"completed","progress":1.0}'
  elseif job[4] then
    status, error = FAILED, job[4]
    event = '{"type":"failed","error":' .. error .. '}'
  end
  local message = error and cjson.decode(error).detail or MESSAGES[status]
  local seq = tell(parent, event, 'status', status, 'message', message)
  redis.call('HSET', JOB .. parent, 'end_seq', seq)
  if error then
    redis.call('HSET', JOB .. parent, 'error', error)
  end
  local children = {}
  for _, child in ipairs(TREE.family(parent)) do
    children[#children + 1] = {job_id = child, status = TREE.state(parent, child) or 'erased'}
  end
  POST.tell_of_job(parent, 'job.' .. status, children)
  redis.call('ZREM', TREES, parent)
  -- All records of a tree last equally long, except those of favourites, and of the parent of one.
  for _, child in ipairs(TREE.family(parent)) do
    if not is_kept(child) and redis.call('EXISTS', JOB .. child) == 1 then
      let_expire(child, args.ttl)
    end
  end
  if not job[3] and redis.call('HGET', JOB .. parent, 'favourite') == '1' then
    redis.call('HSET', JOB .. parent, 'favourite', '0')
    redis.call('ZREM', FAVOURITES .. (redis.call('HGET', JOB .. parent, 'owner') or ''), parent)
  end
  TREE.let_expire(parent, args.ttl)
  redis.call('EXPIRE', EVENTS .. parent, args.events_ttl)
  -- The photo of completed children stays, as that of a completed job does; and for a while that of dead letters.
  if not job[3] then
    redis.call('ZADD', CLEANUP, TREE.has_letter(parent) and NOW_MS + args.keep_letters_ms or NOW_MS, parent)
  end
end

-- The record of a parent that has ended lasts as long as one of a child that is a favourite, whose photo it has.
function TREE.let_expire(parent, ttl)
  local keeps = redis.call('HGET', JOB .. parent, 'favourite') == '1'
  for _, child in ipairs(TREE.family(parent)) do
    keeps = keeps or is_kept(child)
  end
  if keeps then
    redis.call('PERSIST', JOB .. parent)
  elseif TERMINAL[redis.call('HGET', JOB .. parent, 'status')] then
    let_expire(parent, ttl)
  end
end

function TREE.has_letter(parent)
  for _, child in ipairs(TREE.family(parent)) do
    if redis.call('HEXISTS', JOB .. child, 'letter') == 1 then
      return true
    end
  end
  return false
end

-- Lets the children of a parent that wait for the first one begin, in the places that they had.
function TREE.let_go(parent)
  if redis.call('HDEL', JOB .. parent, 'holds') == 0 then
    return
  end
  for _, child in ipairs(TREE.family(parent)) do
    if redis.call('HDEL', JOB .. child, 'held') == 1 and redis.call('ZSCORE', WAITING, child) then
      -- A new entry wakes up the workers, which wait for one.
      local entry = redis.call('HGET', JOB .. child, 'entry')
      redis.call('XACK', QUEUE, GROUP, entry)
      redis.call('XDEL', QUEUE, entry)
      redis.call('HSET', JOB .. child, 'entry', redis.call('XADD', QUEUE, '*', 'job', child))
    end
  end
  take_in()
end

-- Whether a first child in this state keeps the others back no longer: it has ended or was given back. (Let go as soon as
-- its steps were done, the others' steps made its picture come half as late again on two cores.)
local function is_over(status, begun)
  return TERMINAL[status] or status == QUEUED and begun ~= '0'
end

-- Writes what a child is now into its parent's record; returns its state.
local function remember(parent, child)
  local job = redis.call('HMGET', JOB .. child, 'status', 'progress', 'error')
  redis.call('HSET', JOB .. parent, 'child:' .. child, job[1] .. ' ' .. (job[2] or '0'))
  if job[1] == COMPLETED then
    redis.call('HSET', JOB .. parent, 'some_completed', '1')
  elseif job[1] == FAILED and job[3] then
    redis.call('HSETNX', JOB .. parent, 'child_error', job[3])
  end
  return job[1]
end

-- Tells the job's parent, if it has one, of the event that was appended to the job's stream at 'seq'.
function TREE.tell(id, seq, event)
  local job = redis.call('HMGET', JOB .. id, 'parent', 'place', 'begun', 'status')
  local parent, begun = job[1], job[3]
  if not parent or not TREE.state(parent, id) or (job[4] == QUEUED and begun == '0') then
    return
  end
  local status = remember(parent, id)
  local progress, all_ended = sum_up(parent)
  if status ~= QUEUED and redis.call('HGET', JOB .. parent, 'status') == QUEUED and not TERMINAL[status] then
    tell(parent, status_event(TRANSFORMING, progress), 'status', TRANSFORMING, 'message', MESSAGES[TRANSFORMING])
  end
  local told = '{"type":"child","job_id":"' .. id .. '","place":' .. job[2] .. ',"seq":"' .. seq .. '","progress":'
    .. progress .. ',"event":' .. event .. '}'
  local at = tell(parent, told, 'progress', tostring(progress))
  if args.preview then
    local earlier = redis.call('HGET', JOB .. id, 'parent_preview')
    if earlier then
      redis.call('XDEL', EVENTS .. parent, earlier)
    end
    redis.call('HSET', JOB .. id, 'parent_preview', at)
  end
  if job[2] == '0' and is_over(status, begun) then
    TREE.let_go(parent)
  end
  if all_ended then
    end_parent(parent)
  end
end

-- A child that had ended waits again, so its parent, if that has ended, goes on.
function TREE.reopen(id)
  local parent = redis.call('HGET', JOB .. id, 'parent')
  if not parent or not TERMINAL[redis.call('HGET', JOB .. parent, 'status')] then
    return
  end
  local last = redis.call('HGET', JOB .. parent, 'end_seq')
  if last then
    -- Who watches it from its beginning must not be told its earlier end.
    redis.call('XDEL', EVENTS .. parent, last)
  end
  redis.call('HDEL', JOB .. parent, 'error', 'child_error', 'end_seq', 'cancel_requested')
  redis.call('PERSIST', JOB .. parent)
  redis.call('ZREM', EXPIRING, expiring_name(parent, redis.call('HGET', JOB .. parent, 'owner') or ''))
  redis.call('PERSIST', EVENTS .. parent)
  redis.call('ZREM', CLEANUP, parent)
  redis.call('ZADD', TREES, NOW_MS, parent)
  redis.call('HSET', JOB .. parent, 'status', TRANSFORMING, 'message', MESSAGES[TRANSFORMING], 'updated_at', NOW)
  for _, child in ipairs(TREE.family(parent)) do
    redis.call('PERSIST', JOB .. child)
    local failure = child ~= id and redis.call('HGET', JOB .. child, 'error')
    if failure then
      redis.call('HSETNX', JOB .. parent, 'child_error', failure)
    end
  end
end

-- A child was erased: its parent forgets it, what happened to it, and the pictures that show it. Returns whether it was the last one; then the
-- parent is to be erased as well.
function TREE.forget(id, parent)
  redis.call('HDEL', JOB .. parent, 'child:' .. id)
  for _, entry in ipairs(redis.call('XRANGE', EVENTS .. parent, '-', '+')) do
    if string.find(entry[2][2], '"job_id":"' .. id .. '"', 1, true) then
      redis.call('XDEL', EVENTS .. parent, entry[1])
    end
  end
  local files = redis.call('HGET', JOB .. parent, 'files')
  if files then
    for _, file in pairs(cjson.decode(files)) do
      if redis.call('HEXISTS', STORED, parent) == 1 then
        QUOTA.store(redis.call('HGET', JOB .. parent, 'owner') or '', parent, -file.bytes, -1)
      end
    end
    redis.call('HDEL', JOB .. parent, 'files')
  end
  for _, child in ipairs(TREE.family(parent)) do
    if TREE.state(parent, child) then
      return false
    end
  end
  return redis.call('EXISTS', JOB .. parent) == 1
end

-- Compares parents with their children, which a script of an older version may have ended without telling.
function TREE.keep_up()
  for _, parent in ipairs(redis.call('ZRANGEBYSCORE', TREES, '-inf', NOW_MS - TREE.EVERY, 'LIMIT', 0, TREE.AT_ONCE)) do
    redis.call('ZADD', TREES, NOW_MS, parent)
    local first = true
    for _, child in ipairs(TREE.family(parent)) do
      local status = TREE.state(parent, child)
      if status and not TERMINAL[status] then
        if redis.call('HEXISTS', JOB .. child, 'status') == 1 then
          status = remember(parent, child)
        else
          redis.call('HSET', JOB .. parent, 'child:' .. child, CANCELLED .. ' 0')
        end
      end
      if first and (not status or is_over(status, redis.call('HGET', JOB .. child, 'begun') or '0')) then
        TREE.let_go(parent)
      end
      first = false
    end
    local progress, all_ended = sum_up(parent)
    if redis.call('EXISTS', JOB .. parent) == 0 then
      redis.call('ZREM', TREES, parent)
    elseif all_ended then
      end_parent(parent)
    end
  end
end
