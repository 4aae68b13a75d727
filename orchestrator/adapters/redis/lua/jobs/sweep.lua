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
-- A job past its deadline is cancelled: at once while it waits, by its worker while it runs.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', NOW_MS)) do
  local job = redis.call('HMGET', JOB .. id, 'status', 'entry')
  redis.call('ZREM', DEADLINES, id)
  if job[1] == QUEUED then
    terminate(id, job[2], args.cancelled)
    ended = ended + 1
  elseif job[1] then
    redis.call('HSET', JOB .. id, 'cancel_requested', '1', 'updated_at', NOW)
  end
end
TREE.keep_up()
-- Records that have expired leave the lists of their owners.
for _, name in ipairs(redis.call('ZRANGEBYSCORE', EXPIRING, '-inf', NOW_MS, 'LIMIT', 0, 1000)) do
  local id, owner = string.match(name, '^(%S+) (.*)$')
  local left = redis.call('PTTL', JOB .. id)
  if left == -2 then
    unlist(id, owner)
  elseif left == -1 then
    redis.call('ZREM', EXPIRING, name)
  else
    redis.call('ZADD', EXPIRING, NOW_MS + left + 1, name)
  end
end
for _, worker in ipairs(consumers()) do
  if worker.pending == 0 and worker.idle > 3 * args.lease_ms then
    redis.call('XGROUP', 'DELCONSUMER', QUEUE, GROUP, worker.name)
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', NOW_MS - 3 * args.lease_ms)) do
  redis.call('ZREM', WORKERS, worker)
  redis.call('HDEL', SINCE, worker)
end
return ended
