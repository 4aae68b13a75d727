-- Whose job begins next: start-time fair queueing over owners. This text precedes common.lua and every script.
--
-- Virtual time is work (a job's cost / its owner's weight) that each owner could have had done by now. An owner's *tag* is
-- the virtual time at which its next job may begin; to begin a job moves the tag on by the job's work. The owner with the
-- lowest tag is next, so owners that have jobs waiting get shares of the work by their weights, whatever they submit. An
-- owner who comes back begins at the present virtual time: nobody saves up turns. Tags of owners without waiting jobs are
-- kept in SPENT until the virtual time has reached them, so that nobody loses a debt by a pause either.
--
-- Within an owner, jobs are in order of submission. Priority HIGH is worth BONUS seconds of that order, and as much work
-- of the tag, so a job of normal priority waits for a limited amount of later work.
--
-- READY + owner: sorted set of its waiting jobs that were never begun. Jobs that were given back have had their turn and are
-- not in it. TURNS and HURRIED: owners by tag; HURRIED has those whose next job has priority HIGH.

local function virtual_now()
  return tonumber(redis.call('HGET', STATS, 'virtual')) or 0
end

local function tag_of(owner)
  local tag = redis.call('ZSCORE', TURNS, owner) or redis.call('ZSCORE', HURRIED, owner)
  if tag then
    return tonumber(tag)
  end
  return math.max(virtual_now(), tonumber(redis.call('ZSCORE', SPENT, owner)) or 0)
end

-- The work of a job in virtual time.
local function work_of(id)
  local job = redis.call('HMGET', JOB .. id, 'cost', 'weight')
  return math.max(tonumber(job[1]) or 1, 0.001) / math.max(tonumber(job[2]) or 1, 0.001)
end

local function next_of(owner)
  return redis.call('ZRANGE', READY .. owner, 0, 0)[1]
end

-- Files the owner, whose waiting jobs have changed, under its tag.
local function place(owner, tag)
  redis.call('ZREM', TURNS, owner)
  redis.call('ZREM', HURRIED, owner)
  redis.call('ZREM', SPENT, owner)
  local id = next_of(owner)
  if not id then
    redis.call('HDEL', WORK, owner)
    if tag > virtual_now() then
      redis.call('ZADD', SPENT, tag, owner)
    end
  elseif redis.call('HGET', JOB .. id, 'priority') == HIGH then
    redis.call('ZADD', HURRIED, tag, owner)
  else
    redis.call('ZADD', TURNS, tag, owner)
  end
end

-- Lines up a job that was never begun. 'moment' (ms) rises with every job, so that no two share a place. One that is held
-- back (tree.lua) is not lined up, and remembers its moment for when it is.
local function line_up(id, now_ms)
  local job = redis.call('HMGET', JOB .. id, 'owner', 'priority', 'moment', 'held')
  local owner = job[1] or ''
  local moment = tonumber(job[3])
  if not moment then
    moment = math.max(now_ms, (tonumber(redis.call('HGET', STATS, 'moment')) or 0) + 1 / 1024)
    redis.call('HSET', STATS, 'moment', moment)
  end
  if job[4] then
    redis.call('HSET', JOB .. id, 'moment', moment)
    return
  end
  local tag = tag_of(owner)
  local place_of = job[2] == HIGH and moment - BONUS * 1000 or moment
  if redis.call('ZADD', READY .. owner, 'NX', place_of, id) == 1 then
    redis.call('HINCRBYFLOAT', WORK, owner, work_of(id))
    place(owner, tag)
  end
end

-- Takes a job out of its owner's line, without effect if it is not in it.
local function leave_line(owner, id)
  local tag = tag_of(owner)
  if redis.call('ZREM', READY .. owner, id) == 1 then
    redis.call('HINCRBYFLOAT', WORK, owner, -work_of(id))
    place(owner, tag)
  end
end

-- The same for a job that begins: its owner pays for it.
local function take_turn(owner, id)
  local tag = tag_of(owner)
  -- Who goes ahead by BONUS does not take the virtual time along: newcomers begin there, and others would be before them.
  local usual = redis.call('ZRANGE', TURNS, 0, 0, 'WITHSCORES')[2]
  redis.call('HSET', STATS, 'virtual', math.max(virtual_now(), math.min(tag, tonumber(usual) or tag)))
  redis.call('ZREM', READY .. owner, id)
  redis.call('HINCRBYFLOAT', WORK, owner, -work_of(id))
  place(owner, tag + work_of(id))
  redis.call('ZREMRANGEBYSCORE', SPENT, '-inf', virtual_now())
end

-- The owner whose turn it is, and its next job; nil when no job waits.
local function next_turn()
  while true do
    local usual = redis.call('ZRANGE', TURNS, 0, 0, 'WITHSCORES')
    local hurried = redis.call('ZRANGE', HURRIED, 0, 0, 'WITHSCORES')
    local first = usual
    if hurried[1] and (not usual[1] or hurried[2] - BONUS <= tonumber(usual[2])) then
      first = hurried
    end
    local owner = first[1]
    if not owner then
      return nil
    end
    local id = next_of(owner)
    if id then
      return owner, id
    end
    place(owner, tonumber(first[2]))
  end
end

-- The number of owners whose waiting jobs are counted one owner at a time; each further one counts as one job.
local MOST_OWNERS = 200

-- How many jobs of the other owners in this set (TURNS or HURRIED) begin before 'tag', if each owner's jobs are of equal
-- work.
local function others_before(set, tag, owner)
  local before = 0
  local found = redis.call('ZRANGEBYSCORE', set, '-inf', tag, 'WITHSCORES', 'LIMIT', 0, MOST_OWNERS)
  for i = 1, #found, 2 do
    local other = found[i]
    if other ~= owner then
      local waiting = redis.call('ZCARD', READY .. other)
      local each = math.max(tonumber(redis.call('HGET', WORK, other)) or 0, 0.001) / math.max(waiting, 1)
      local turns = (tag - found[i + 1]) / each
      local begun = math.ceil(turns)
      if begun == turns and other < owner then
        begun = begun + 1
      end
      before = before + math.min(waiting, begun)
    end
  end
  if #found == 2 * MOST_OWNERS then
    before = before + redis.call('ZCOUNT', set, '-inf', tag) - MOST_OWNERS
  end
  return before
end

-- The number of jobs that probably begin before a waiting job, or nil when it does not wait. Jobs that were given back
-- begin first; the others by their owners' turns.
local function position_of(id)
  local order = redis.call('ZRANK', WAITING, id)
  if not order then
    return nil
  end
  local delayed, declined = redis.call('ZRANK', DELAYED, id), redis.call('ZRANK', DECLINED, id)
  if delayed then
    return delayed
  elseif declined then
    return redis.call('ZCARD', DELAYED) + declined
  end
  local owner = redis.call('HGET', JOB .. id, 'owner') or ''
  local own = redis.call('ZRANK', READY .. owner, id)
  if not own then
    return order
  end
  local each = (tonumber(redis.call('HGET', WORK, owner)) or 0) / redis.call('ZCARD', READY .. owner)
  local tag = tag_of(owner) + own * each
  local ahead = redis.call('ZSCORE', HURRIED, owner) and BONUS or 0
  return redis.call('ZCARD', DELAYED) + redis.call('ZCARD', DECLINED) + own
    + others_before(TURNS, tag - ahead, owner) + others_before(HURRIED, tag - ahead + BONUS, owner)
end
