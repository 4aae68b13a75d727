-- Stands before every script. KEYS are those of keys.py in their order; ARGV[1] is a JSON object.
local QUEUE, WAITING, DELAYED, DEAD, STATS, WORKERS, JOB, EVENTS, DONE = unpack(KEYS)
local GROUP, PARKED = 'workers', 'parked'
local TERMINAL = {completed = true, failed = true, cancelled = true}
local args = cjson.decode(ARGV[1])

-- All times are the server's: clocks of workers may differ.
local clock = redis.call('TIME')
local NOW = clock[1] .. '.' .. string.format('%06d', clock[2])
local NOW_MS = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function ensure_queue()
  if redis.call('EXISTS', QUEUE) == 0 then
    redis.call('XGROUP', 'CREATE', QUEUE, GROUP, '0', 'MKSTREAM')
  end
end

-- The stream's group knows a worker only once it has been given an entry, so idle ones are remembered here.
local function seen(worker)
  redis.call('ZADD', WORKERS, NOW_MS, worker)
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

-- A change = {event = JSON text, fields = {name, value, ...} of the job record}: told and recorded together.
local function apply(id, change, ...)
  local seq = redis.call('XADD', EVENTS .. id, '*', 'event', change.event)
  redis.call('HSET', JOB .. id, 'last_seq', seq, 'updated_at', NOW, unpack(change.fields))
  if select('#', ...) > 0 then
    redis.call('HSET', JOB .. id, ...)
  end
end

local function forget_entry(id, entry)
  redis.call('XACK', QUEUE, GROUP, entry)
  redis.call('XDEL', QUEUE, entry)
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', DELAYED, id)
end

local function terminate(id, entry, change, ...)
  apply(id, change, ...)
  forget_entry(id, entry)
  redis.call('EXPIRE', JOB .. id, args.ttl)
  redis.call('EXPIRE', EVENTS .. id, args.events_ttl)
end

local function dead_letter(id, code, detail)
  local attempts = redis.call('HGET', JOB .. id, 'attempts')
  redis.call('XADD', DEAD, 'MAXLEN', '~', args.dead_letters, '*',
    'job', id, 'code', code, 'detail', detail, 'attempts', attempts)
end

-- The fence: may this lease still write?
local function holds(lease)
  local job = redis.call('HMGET', JOB .. lease.job, 'status', 'entry', 'begun')
  if not job[1] or TERMINAL[job[1]] or job[2] ~= lease.entry or job[3] ~= lease.attempt then
    return false
  end
  local pending = redis.call('XPENDING', QUEUE, GROUP, lease.entry, lease.entry, 1)[1]
  return pending ~= nil and pending[2] == lease.worker
end

-- Which of its own acts ended this lease ('finish', 'release', 'retry', 'exhausted')? False: none of its own.
local function closed_as(lease)
  local closed = redis.call('HGET', JOB .. lease.job, 'closed')
  local mine = lease.attempt .. ' ' .. lease.worker .. ' '
  return closed and string.sub(closed, 1, #mine) == mine and string.sub(closed, #mine + 1)
end

local function closing(lease, act)
  return 'closed', lease.attempt .. ' ' .. lease.worker .. ' ' .. act
end

local function cancel_requested(id)
  return redis.call('HGET', JOB .. id, 'cancel_requested') == '1'
end

-- Entries that ended, were cancelled or have used up their attempts are never begun; true when it was one of those.
local function settle(id, entry)
  local job = redis.call('HMGET', JOB .. id, 'status', 'entry', 'cancel_requested', 'attempts')
  if not job[1] or TERMINAL[job[1]] or job[2] ~= entry then
    forget_entry(id, entry)
    return true
  elseif job[3] == '1' then
    terminate(id, entry, args.cancelled)
    return true
  elseif tonumber(job[4]) >= args.max_deliveries then
    dead_letter(id, args.exhausted.code, args.exhausted.detail)
    terminate(id, entry, args.exhausted)
    return true
  end
  return false
end

-- While Redis was down nobody could renew: after a start, workers that live get a lease's length to do so.
local function just_started()
  local uptime = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
  return uptime * 1000 < args.lease_ms
end

-- Calls visit(id, entry) for every entry whose lease has run out, oldest first, until visit returns true.
local function each_expired(visit)
  local from, page = '-', nil
  repeat
    page = redis.call('XPENDING', QUEUE, GROUP, 'IDLE', args.lease_ms, from, '+', 100)
    for _, pending in ipairs(page) do
      local entry = pending[1]
      from = '(' .. entry
      if pending[2] ~= PARKED then
        if just_started() then return false end
        local found = redis.call('XRANGE', QUEUE, entry, entry)[1]
        if not found then
          redis.call('XACK', QUEUE, GROUP, entry)
        elseif visit(found[2][2], entry) then
          return true
        end
      end
    end
  until #page < 100
  return false
end
