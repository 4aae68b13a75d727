-- args: worker, cancelled, exhausted, lease_ms, max_deliveries, ttl, dead_letters. Returns how many jobs it ended.
ensure_queue()
seen(args.worker)
local ended = 0
each_expired(function(id, entry)
  if settle(id, entry) then
    ended = ended + 1
  end
  return false
end)
for _, worker in ipairs(consumers()) do
  if worker.pending == 0 and worker.idle > 3 * args.lease_ms then
    redis.call('XGROUP', 'DELCONSUMER', QUEUE, GROUP, worker.name)
  end
end
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', NOW_MS - 3 * args.lease_ms)
return ended
