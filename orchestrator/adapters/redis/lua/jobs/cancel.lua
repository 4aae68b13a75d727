-- args: job, nonce, cancelled, ttl, reservation = {name, owner} (or null). Returns 'missing', 'finished' or the job's record. A
-- parent is cancelled with all of its children that have not ended. A reservation that the job used is free again.
even_when_full()
local id = args.job
local status = redis.call('HGET', JOB .. id, 'status')
if not status then
  return 'missing'
end

local function cancel(job_id)
  local job = redis.call('HMGET', JOB .. job_id, 'status', 'entry')
  if job[1] and not TERMINAL[job[1]] then
    redis.call('HSET', JOB .. job_id, 'cancel_requested', '1', 'updated_at', NOW)
    if job[1] == QUEUED and job[2] then
      terminate(job_id, job[2], args.cancelled)
    end
  end
end

if redis.call('EXISTS', DONE .. args.nonce) == 0 then
  if TERMINAL[status] then
    return 'finished'
  end
  redis.call('SET', DONE .. args.nonce, id, 'EX', 60)
  -- First, so that the end of the first child does not let the others begin.
  redis.call('HDEL', JOB .. id, 'holds')
  cancel(id)
  for _, child in ipairs(TREE.family(id)) do
    cancel(child)
  end
  local reservation = args.reservation
  if reservation and redis.call('GET', RESERVATION .. reservation.name) == used(reservation) then
    redis.call('DEL', RESERVATION .. reservation.name)
  end
end
return redis.call('HGETALL', JOB .. id)
