-- args: silence_ms (a worker that has been silent for longer is not counted).
-- Returns the numbers of queued, running, delayed and declined jobs, dead letters and workers, then mean_seconds, ends,
-- span, work and mean_cost (see measure_end; '' = not measured yet), the cost of all jobs that wait, and since how many
-- seconds the job waits that was submitted first.
ensure_queue()
local delayed, declined = redis.call('ZCARD', DELAYED), redis.call('ZCARD', DECLINED)
local workers = redis.call('ZCOUNT', WORKERS, NOW_MS - args.silence_ms, '+inf')
local measured = redis.call('HMGET', STATS, 'mean_seconds', 'ends', 'span', 'work', 'mean_cost', 'order', 'submitted')
local order, submitted = tonumber(measured[6]), tonumber(measured[7])
local waiting = cost_between(redis.call('ZCARD', WAITING), order and order + 1, submitted)
local first = redis.call('ZRANGE', WAITING, 0, 0)[1]
-- 'queued_at': of a job that was given up and replayed.
local times = first and redis.call('HMGET', JOB .. first, 'queued_at', 'created_at') or {}
local since = tonumber(times[1] or times[2] or NOW)
return {ready(), running(), delayed, declined, redis.call('XLEN', DEAD), workers,
  measured[1] or '', measured[2] or '', measured[3] or '', measured[4] or '', measured[5] or '', tostring(waiting),
  tostring(math.max(0, tonumber(NOW) - since))}
