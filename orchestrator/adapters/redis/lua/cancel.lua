-- args: job, nonce, cancelled, ttl. Returns 'missing', 'finished' or the job's record.
even_when_full()
local id = args.job
local job = redis.call('HMGET', JOB .. id, 'status', 'entry')
if not job[1] then
  return 'missing'
end
if redis.call('EXISTS', DONE .. args.nonce) == 0 then
  if TERMINAL[job[1]] then
    return 'finished'
  end
  redis.call('SET', DONE .. args.nonce, id, 'EX', 60)
  redis.call('HSET', JOB .. id, 'cancel_requested', '1', 'updated_at', NOW)
  if job[1] == QUEUED then
    terminate(id, job[2], args.cancelled)
  end
end
return redis.call('HGETALL', JOB .. id)
