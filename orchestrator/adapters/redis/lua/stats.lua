-- args: silence_ms (a worker that has been silent for longer is not counted).
-- Returns the numbers of queued, running, delayed and declined jobs, dead letters and workers, then mean_seconds, ends
-- and span (see measure_end; '' = not measured yet), and since how many seconds the job waits that waits first, as text.
ensure_queue()
local delayed, declined = redis.call('ZCARD', DELAYED), redis.call('ZCARD', DECLINED)
local workers = redis.call('ZCOUNT', WORKERS, NOW_MS - args.silence_ms, '+inf')
local first = redis.call('ZRANGE', WAITING, 0, 0)[1]
local submitted = first and tonumber(redis.call('HGET', JOB .. first, 'created_at') or NOW) or tonumber(NOW)
local measured = redis.call('HMGET', STATS, 'mean_seconds', 'ends', 'span')
return {ready(), running(), delayed, declined, redis.call('XLEN', DEAD), workers,
  measured[1] or '', measured[2] or '', measured[3] or '', tostring(math.max(0, tonumber(NOW) - submitted))}
