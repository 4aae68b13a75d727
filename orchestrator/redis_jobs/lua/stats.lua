-- args: silence_ms (a worker that has been silent for longer is not counted).
-- Returns queued, running, delayed, dead letters, workers, mean seconds ('' = none yet).
ensure_queue()
local delayed = redis.call('ZCARD', DELAYED)
local pending = redis.call('XPENDING', QUEUE, GROUP)[1]
local workers = redis.call('ZCOUNT', WORKERS, NOW_MS - args.silence_ms, '+inf')
return {redis.call('ZCARD', WAITING) - delayed, pending - delayed, delayed, redis.call('XLEN', DEAD), workers,
  redis.call('HGET', STATS, 'mean_seconds') or ''}
