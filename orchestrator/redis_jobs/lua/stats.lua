-- args: silence_ms (a worker that has been silent for longer is not counted).
-- Returns queued, running, delayed, dead letters, workers, mean seconds ('' = none yet).
ensure_queue()
local delayed = redis.call('ZCARD', DELAYED)
local pending = redis.call('XPENDING', QUEUE, GROUP)[1]
local workers = 0
for _, worker in ipairs(consumers()) do
  if worker.idle <= args.silence_ms then
    workers = workers + 1
  end
end
return {redis.call('ZCARD', WAITING) - delayed, pending - delayed, delayed, redis.call('XLEN', DEAD), workers,
  redis.call('HGET', STATS, 'mean_seconds') or ''}
