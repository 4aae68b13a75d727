-- args: worker, kind, nonce, photo_id (a new one), photo_ttl, begin and queued (changes), cancelled, exhausted, lease_ms,
-- max_deliveries, ttl, dead_letters.
-- Returns the record of the job that was begun, with its 'photo_id' where it has one, or the queue's last id: the next
-- entry comes after it.
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
  local first = redis.call('HINCRBY', JOB .. id, 'begun', 1) == 1
  apply(id, args.begin, 'number', '0', 'begun_at', NOW)
  if first then
    POST.tell_of_job(id, 'job.started')
  end
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
  take_in()
  while true do
    local owner, id = next_turn()
    if not owner then
      return false
    end
    -- A worker or an API of an older version may have begun or ended it.
    if redis.call('ZSCORE', WAITING, id) and begin(id, redis.call('HGET', JOB .. id, 'entry') or '0-0') then
      take_turn(owner, id)
      return true
    end
    leave_line(owner, id)
  end
end

-- The record of a job, and the id of its photo. A repeated call makes no id: its first one may have been dropped since.
local function with_photo_id(id, repeated)
  local record = redis.call('HGETALL', JOB .. id)
  local digest = redis.call('HGET', JOB .. id, 'photo_digest')
  if not digest then
    return record
  end
  if not repeated then
    redis.call('SET', PHOTO .. digest, args.photo_id, 'EX', args.photo_ttl, 'NX')
    redis.call('EXPIRE', PHOTO .. digest, args.photo_ttl)
  end
  local found = redis.call('GET', PHOTO .. digest)
  if found then
    record[#record + 1] = 'photo_id'
    record[#record + 1] = found
  end
  return record
end

begun = redis.call('GET', DONE .. args.nonce)
if begun then
  return with_photo_id(begun, true)
elseif each_expired(begin_expired) or begin_delayed() or begin_declined() or begin_new() then
  return with_photo_id(begun, false)
end

local info = redis.call('XINFO', 'STREAM', QUEUE)
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    return info[i + 1]
  end
end
