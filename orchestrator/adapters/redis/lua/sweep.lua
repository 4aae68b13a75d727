-- args: worker, cancelled, exhausted, not_understood, decline_ms, lease_ms, max_deliveries, ttl, dead_letters.
-- Returns how many jobs it ended.
even_when_full()
ensure_queue()
mark_alive(args.worker)
local ended = 0
each_expired(function(id, entry)
  if settle(id, entry) then
    ended = ended + 1
  end
  return false
end)
-- A job that no worker understands waits for a newer worker, up to decline_ms.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DECLINED, '-inf', NOW_MS - args.decline_ms)) do
  local entry = redis.call('HGET', JOB .. id, 'entry') or '0-0'
  if not settle(id, entry) then
    dead_letter(id, args.not_understood.code, args.not_understood.detail)
    terminate(id, entry, args.not_understood)
  end
  ended = ended + 1
end
for _, worker in ipairs(consumers()) do
  if worker.pending == 0 and worker.idle > 3 * args.lease_ms then
    redis.call('XGROUP', 'DELCONSUMER', QUEUE, GROUP, worker.name)
  end
end
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', NOW_MS - 3 * args.lease_ms)
return ended
