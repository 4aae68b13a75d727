-- args: job, on, ttl. Returns 'missing', 'ended' (without a picture, so that there is nothing to keep) or the job's record.
local id = args.job
local job = redis.call('HMGET', JOB .. id, 'status', 'favourite', 'owner')
local status, owner = job[1], job[3] or ''
if not status then
  return 'missing'
elseif args.on and TERMINAL[status] and status ~= COMPLETED then
  return 'ended'
elseif args.on then
  redis.call('HSET', JOB .. id, 'favourite', '1')
  redis.call('ZADD', FAVOURITES .. owner, created_micros(id), id)
  if status == COMPLETED then
    redis.call('PERSIST', JOB .. id)
    redis.call('ZREM', EXPIRING, expiring_name(id, owner))
  end
elseif job[2] == '1' then
  even_when_full()
  redis.call('ZREM', FAVOURITES .. owner, id)
  -- From now on it is kept for as long as if it had just ended.
  redis.call('HSET', JOB .. id, 'favourite', '0', 'updated_at', NOW)
  if TERMINAL[status] then
    let_expire(id, args.ttl)
  end
end
return redis.call('HGETALL', JOB .. id)
