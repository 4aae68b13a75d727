-- args: worker, kind, nonce, begin and queued (changes), cancelled, exhausted, lease_ms, max_deliveries, ttl,
-- dead_letters.
-- Returns the record of the job that was begun, or the queue's last id: the next entry comes after it.
even_when_full()
ensure_queue()
mark_alive(args.worker)

-- How many declined jobs are examined for one that this kind of worker has not declined.
local MOST_DECLINED = 100

local idle, begun = running() == 0, nil

local function begin(id, entry)
  if settle(id, entry) then
    return false
  elseif declined_by(id, args.kind) then
    leave_to_others(id, entry)
    apply(id, args.queued)
    return false
  end
  redis.call('XCLAIM', QUEUE, GROUP, args.worker, 0, entry, 'IDLE', 0, 'JUSTID')
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', DECLINED, id)
  redis.call('HINCRBY', JOB .. id, 'attempts', 1)
  redis.call('HINCRBY', JOB .. id, 'begun', 1)
  apply(id, args.begin, 'number', '0', 'begun_at', NOW)
  redis.call('SET', DONE .. args.nonce, id, 'PX', args.lease_ms)
  if idle then
    redis.call('HSET', STATS, 'since', NOW)
  end
  begun = id
  return true
end

-- While its worker was dead, fewer workers ran than there should be, so that time is left out of the measured rate.
local function begin_expired(id, entry)
  idle = true
  return begin(id, entry)
end

local function begin_delayed()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', DELAYED, '-inf', NOW_MS)) do
    if begin(id, redis.call('HGET', JOB .. id, 'entry') or '0-0') then
      return true
    end
  end
  return false
end

local function begin_declined()
  for _, id in ipairs(redis.call('ZRANGE', DECLINED, 0, MOST_DECLINED - 1)) do
    if not declined_by(id, args.kind) and begin(id, redis.call('HGET', JOB .. id, 'entry') or '0-0') then
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
if begun or each_expired(begin_expired) or begin_delayed() or begin_declined() or begin_new() then
  return redis.call('HGETALL', JOB .. begun)
end

local info = redis.call('XINFO', 'STREAM', QUEUE)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    return info[i + 1]
  end
end
