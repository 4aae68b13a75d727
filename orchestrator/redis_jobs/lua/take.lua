-- args: worker, nonce, begin (a change), cancelled, exhausted, lease_ms, max_deliveries, ttl, dead_letters.
-- Returns the record of the job that was begun, or the id after which the queue's next entry will come.
ensure_queue()
seen(args.worker)

local begun = nil

local function begin(id, entry)
  if settle(id, entry) then
    return false
  end
  redis.call('XCLAIM', QUEUE, GROUP, args.worker, 0, entry, 'IDLE', 0, 'JUSTID')
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', DELAYED, id)
  redis.call('HINCRBY', JOB .. id, 'attempts', 1)
  redis.call('HINCRBY', JOB .. id, 'begun', 1)
  apply(id, args.begin, 'number', '0', 'begun_at', NOW)
  redis.call('SET', DONE .. args.nonce, id, 'PX', args.lease_ms)
  begun = id
  return true
end

local function begin_delayed()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', NOW_MS)) do
    if begin(id, redis.call('HGET', JOB .. id, 'entry') or '0-0') then
      return true
    end
  end
  return false
end

local function begin_new()
  while true do
    local reply = redis.call('XREADGROUP', 'GROUP', GROUP, args.worker, 'COUNT', 1, 'STREAMS', QUEUE, '>')
    if not reply then
      return false
    end
    local entry = reply[1][2][1]
    if begin(entry[2][2], entry[1]) then
      return true
    end
  end
end

begun = redis.call('GET', DONE .. args.nonce)
if begun or each_expired(begin) or begin_delayed() or begin_new() then
  return redis.call('HGETALL', JOB .. begun)
end

local info = redis.call('XINFO', 'STREAM', QUEUE)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    return info[i + 1]
  end
end
