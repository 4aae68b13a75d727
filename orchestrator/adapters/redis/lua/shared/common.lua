-- This text precedes every script. scripts.py puts constants before it: the keys (QUEUE, JOB ...), GROUP, PARKED, every
-- state of a job (QUEUED ...), TERMINAL, HIGH and BONUS; clock.lua, post.lua, turns.lua, quota.lua and levels.lua. Scripts that end
-- jobs get 'pricing'.

-- What tree.lua defines.
local TREE = {}

-- A full Redis (6.2 to 7) refuses a script whose first write may need memory, and accepts every write after the first.
-- Jobs that are stored already must be able to run and to end, or memory would never come free. Their scripts therefore
-- begin with a write that needs no memory. Scripts that add a job do not call this.
local function even_when_full()
  redis.call('DEL', DONE .. 'nothing')
end

local function ensure_queue()
  if redis.call('EXISTS', QUEUE) == 0 then
    redis.call('XGROUP', 'CREATE', QUEUE, GROUP, '0', 'MKSTREAM')
  end
end

-- The time (ms) until which no lease counts as run out, because no worker could renew its own.
local function grace_until()
  return tonumber(redis.call('HGET', STATS, 'grace_until')) or 0
end

-- The group knows a worker only after it has received an entry, so idle workers are recorded here.
--
-- When nothing was heard of any worker for half a lease, in which each should have called twice, and then one of them
-- calls again, the network was cut or Redis stood still. The living ones get the length of a lease to renew theirs. The
-- first call of a new worker begins no such time, for the others may have died. Nor does a call within it, or the jobs
-- of dead workers would wait as long as the calls of the living are far apart.
local function mark_alive(worker)
  local last = redis.call('ZREVRANGE', WORKERS, 0, 0, 'WITHSCORES')[2]
  local known = redis.call('ZSCORE', WORKERS, worker)
  if known and NOW_MS - last > args.lease_ms / 2 and tonumber(last) >= grace_until() then
    redis.call('HSET', STATS, 'grace_until', NOW_MS + args.lease_ms)
  end
  redis.call('ZADD', WORKERS, NOW_MS, worker)
  if not known then
    redis.call('HSET', SINCE, worker, NOW_MS)
  end
end

-- The workers that the group knows, as {name, pending, idle (ms)}.
local function consumers()
  local workers = {}
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', QUEUE, GROUP)) do
    local worker = {}
    for i = 1, #info, 2 do
      worker[info[i]] = info[i + 1]
    end
    if worker.name ~= PARKED then
      workers[#workers + 1] = worker
    end
  end
  return workers
end

-- The number of jobs that a worker which understands them could begin now.
local function ready()
  return redis.call('ZCARD', WAITING) - redis.call('ZCARD', DELAYED) - redis.call('ZCARD', DECLINED)
end

local function running()
  return redis.call('XLEN', QUEUE) - redis.call('ZCARD', WAITING)
end

-- Appends the event of a change to the job's stream and writes its fields into the job's record.
-- change = {event = JSON text, fields = {name, value, ...}}; further arguments are more fields: name, value, ...
local function apply(id, change, ...)
  local seq = redis.call('XADD', EVENTS .. id, '*', 'event', change.event)
  redis.call('HSET', JOB .. id, 'last_seq', seq, 'updated_at', NOW, unpack(change.fields))
  if select('#', ...) > 0 then
    redis.call('HSET', JOB .. id, ...)
  end
  TREE.tell(id, seq, change.event)
end

local function forget_entry(id, entry)
  redis.call('XACK', QUEUE, GROUP, entry)
  redis.call('XDEL', QUEUE, entry)
  leave_line(redis.call('HGET', JOB .. id, 'owner') or '', id)
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', DECLINED, id)
  redis.call('ZREM', DEADLINES, id)
end

-- Counts a job that was submitted or has ended, by style and tier: for metrics. Records of older versions have no tier.
local function count(what, id)
  local job = redis.call('HMGET', JOB .. id, 'style', 'tier', 'counted_as')
  redis.call('HINCRBY', STATS, 'count:' .. what .. ':' .. (job[3] or job[1] or '') .. ':' .. (job[2] or DEFAULT_TIER), 1)
end

-- Owners' lists of jobs: LISTED and FAVOURITES .. owner, by when (microseconds) a job was made. Jobs of a tree are found through
-- their parent, which is listed alone. A record that Redis lets expire is in EXPIRING, from which sweep.lua clears the lists.
local function created_micros(id)
  return math.floor((tonumber(redis.call('HGET', JOB .. id, 'created_at')) or 0) * 1000000 + 0.5)
end

local function expiring_name(id, owner)
  return id .. ' ' .. owner
end

local function enlist(id)
  local job = redis.call('HMGET', JOB .. id, 'owner', 'parent')
  if (job[2] or '') == '' then
    redis.call('ZADD', LISTED .. (job[1] or ''), created_micros(id), id)
  end
end

local function unlist(id, owner)
  redis.call('ZREM', LISTED .. owner, id)
  redis.call('ZREM', FAVOURITES .. owner, id)
  redis.call('ZREM', EXPIRING, expiring_name(id, owner))
end

local function let_expire(id, ttl)
  redis.call('EXPIRE', JOB .. id, ttl)
  redis.call('ZADD', EXPIRING, NOW_MS + ttl * 1000, expiring_name(id, redis.call('HGET', JOB .. id, 'owner') or ''))
end

local function terminate(id, entry, change, ...)
  apply(id, change, ...)
  forget_entry(id, entry)
  local job = redis.call('HMGET', JOB .. id, 'status', 'letter', 'owner', 'favourite')
  QUOTA.settle(job[3] or '', id, job[1], change.measured or {}, args.pricing)
  count(job[1], id)
  LEVEL.count(id, job[1], change.code)
  POST.tell_of_job(id, 'job.' .. job[1])
  if job[1] ~= COMPLETED then
    -- A dead letter may be replayed for a while, so it keeps its photo.
    redis.call('ZADD', CLEANUP, job[2] and NOW_MS + args.keep_letters_ms or NOW_MS, id)
  end
  -- A favourite's record and pictures are kept, if there are any.
  local favourite = job[4] == '1'
  if favourite and job[1] ~= COMPLETED then
    redis.call('HSET', JOB .. id, 'favourite', '0')
    redis.call('ZREM', FAVOURITES .. (job[3] or ''), id)
  end
  if not favourite or job[1] ~= COMPLETED then
    let_expire(id, args.ttl)
  end
  redis.call('EXPIRE', EVENTS .. id, args.events_ttl)
end

local function dead_letter(id, code, detail)
  local attempts = redis.call('HGET', JOB .. id, 'attempts')
  local letter = redis.call('XADD', DEAD, 'MAXLEN', '~', args.dead_letters, '*',
    'job', id, 'code', code, 'detail', detail, 'attempts', attempts)
  redis.call('HSET', JOB .. id, 'letter', letter)
end

-- The fence: whether this lease may still write.
local function holds(lease)
  local job = redis.call('HMGET', JOB .. lease.job, 'status', 'entry', 'begun')
  if not job[1] or TERMINAL[job[1]] or job[2] ~= lease.entry or job[3] ~= lease.attempt then
    return false
  end
  local pending = redis.call('XPENDING', QUEUE, GROUP, lease.entry, lease.entry, 1)[1]
  return pending ~= nil and pending[2] == lease.worker
end

-- The act by which its own worker ended this lease ('finish', 'release', 'decline', 'retry', 'postpone' or
-- 'exhausted'), or false. A repeated call is recognised by it.
local function closed_as(lease)
  local closed = redis.call('HGET', JOB .. lease.job, 'closed')
  local mine = lease.attempt .. ' ' .. lease.worker .. ' '
  return closed and string.sub(closed, 1, #mine) == mine and string.sub(closed, #mine + 1)
end

local function closing(lease, act)
  return 'closed', lease.attempt .. ' ' .. lease.worker .. ' ' .. act
end

-- The cost of the 'count' jobs that wait before one of number 'order', when jobs of 'submitted' cost have been submitted
-- before that one. Which jobs those are is not looked up: they cost as much as the mean of all that were submitted since
-- the first one that waits. Jobs that an older version submitted cost 1.
local function cost_between(count, order, submitted)
  local first = redis.call('ZRANGE', WAITING, 0, 0)[1]
  local head = first and redis.call('HMGET', JOB .. first, 'order', 'submitted') or {}
  if not (order and submitted and head[1] and head[2]) or order <= tonumber(head[1]) then
    return count
  end
  return count * (submitted - tonumber(head[2])) / (order - tonumber(head[1]))
end

-- Measures the rate at which jobs end while all workers are busy: 'ends' jobs of 'work' cost in 'span' seconds, all
-- reduced by 3 % at each end so that old measurements fade. 'since' is the beginning of the current interval: the last end that left jobs
-- waiting, or the begin of the first job. An interval counts only if jobs still wait at its end, so that times without
-- work or without workers are not measured.
local function measure_end(id)
  local job = redis.call('HMGET', JOB .. id, 'begun_at', 'cost')
  local begun_at, cost = tonumber(job[1]), tonumber(job[2]) or 1
  local stats = redis.call('HMGET', STATS, 'since', 'ends', 'span', 'mean_seconds', 'work', 'mean_cost')
  local since, now = tonumber(stats[1]), tonumber(NOW)
  local fade = 0.97
  if since and ready() > 0 then
    local ends, span = (tonumber(stats[2]) or 0) * fade + 1, (tonumber(stats[3]) or 0) * fade + now - since
    -- What was measured before there were costs counts as 1 a job.
    local work = (tonumber(stats[5]) or tonumber(stats[2]) or 0) * fade + cost
    redis.call('HSET', STATS, 'ends', tostring(ends), 'span', tostring(span), 'work', tostring(work))
  end
  redis.call('HSET', STATS, 'since', ready() > 0 and NOW or '')
  if begun_at and args.completed then
    local mean = tonumber(stats[4])
    local seconds, mean_cost = now - begun_at, tonumber(stats[6]) or 1
    mean_cost = mean and mean_cost * 0.9 + cost * 0.1 or cost
    mean = mean and mean * 0.9 + seconds * 0.1 or seconds
    redis.call('HSET', STATS, 'mean_seconds', tostring(mean), 'mean_cost', tostring(mean_cost))
  end
end

-- A job that one kind of worker declined waits for a worker of another kind, in its old place.
local function leave_to_others(id, entry)
  redis.call('XCLAIM', QUEUE, GROUP, PARKED, 0, entry, 'IDLE', 0, 'JUSTID')
  redis.call('HSETNX', JOB .. id, 'declined_at', NOW_MS)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZADD', DECLINED, redis.call('HGET', JOB .. id, 'declined_at'), id)
  redis.call('ZADD', WAITING, redis.call('HGET', JOB .. id, 'order'), id)
end

local function declined_by(id, kind)
  return redis.call('HEXISTS', JOB .. id, 'declined_by:' .. kind) == 1
end

local function cancel_requested(id)
  return redis.call('HGET', JOB .. id, 'cancel_requested') == '1'
end

local function is_late(id)
  local deadline = redis.call('ZSCORE', DEADLINES, id)
  return deadline and tonumber(deadline) <= NOW_MS
end

-- Ends a job that must not be begun: it has ended, was cancelled, is past its deadline, or has used up its attempts.
-- Returns whether it was one of those.
local function settle(id, entry)
  local job = redis.call('HMGET', JOB .. id, 'status', 'entry', 'cancel_requested', 'attempts')
  if not job[1] or TERMINAL[job[1]] or job[2] ~= entry then
    forget_entry(id, entry)
    return true
  elseif job[3] == '1' or is_late(id) then
    terminate(id, entry, args.cancelled)
    return true
  elseif tonumber(job[4]) >= args.max_deliveries then
    dead_letter(id, args.exhausted.code, args.exhausted.detail)
    terminate(id, entry, args.exhausted)
    return true
  end
  return false
end

-- No worker could renew its lease while Redis was down. After a start, living workers get the length of a lease to do so,
-- and up to a second more: Redis counts the seconds that its clock has begun, the first of which may last a moment.
local function just_started()
  local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  return (uptime - 1) * 1000 < args.lease_ms
end

-- Whether stream id a comes before b.
local function before(a, b)
  local a_ms, a_seq = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_seq = string.match(b, '(%d+)-(%d+)')
  if a_ms == b_ms then
    return tonumber(a_seq) < tonumber(b_seq)
  end
  return tonumber(a_ms) < tonumber(b_ms)
end

-- The entries whose lease has run out, oldest first. Each worker is asked for its own, because PARKED has very many.
local function expired()
  local found = {}
  for _, worker in ipairs(consumers()) do
    local from, page = '-', {}
    if worker.pending > 0 then
      repeat
        page = redis.call('XPENDING', QUEUE, GROUP, 'IDLE', args.lease_ms, from, '+', 100, worker.name)
        for _, pending in ipairs(page) do
          from = '(' .. pending[1]
          found[#found + 1] = pending[1]
        end
      until #page < 100
    end
  end
  table.sort(found, before)
  return found
end

-- Calls visit(id, entry) for every entry whose lease has run out, oldest first, until visit returns true.
local function each_expired(visit)
  for _, entry in ipairs(expired()) do
    if just_started() or NOW_MS < grace_until() then return false end
    local found = redis.call('XRANGE', QUEUE, entry, entry)[1]
    if not found then
      redis.call('XACK', QUEUE, GROUP, entry)
    elseif visit(found[2][2], entry) then
      return true
    end
  end
  return false
end

-- Lines up the jobs of all entries that nobody has read: the one that was just submitted, and those that an older version
-- submitted, whose workers read the stream in its order.
local function take_in()
  while true do
    local reply = redis.call('XREADGROUP', 'GROUP', GROUP, PARKED, 'COUNT', 100, 'STREAMS', QUEUE, '>')
    if not reply then
      return
    end
    for _, entry in ipairs(reply[1][2]) do
      line_up(entry[2][2], NOW_MS)
    end
  end
end

-- What a reservation holds when a job was queued with it. It is free again only when that submission is undone.
local function used(reservation)
  return 'used ' .. reservation.owner
end

-- Puts a job at the end of the queue. fields = {name, value, ...} are written into its record first; change as in apply.
local function enqueue(id, cost, cancel_after_ms, change, fields)
  ensure_queue()
  local order = redis.call('HINCRBY', STATS, 'order', 1)
  local entry = redis.call('XADD', QUEUE, '*', 'job', id)
  redis.call('ZADD', WAITING, order, id)
  -- The cost of all jobs before this one since the beginning: see cost_between.
  local submitted = tonumber(redis.call('HINCRBYFLOAT', STATS, 'submitted', cost))
  redis.call('HSET', JOB .. id, 'entry', entry, 'order', order, 'submitted', tostring(submitted - cost), unpack(fields))
  apply(id, change)
  take_in()
  if cancel_after_ms then
    redis.call('ZADD', DEADLINES, NOW_MS + cancel_after_ms, id)
  end
  count('submitted', id)
end
