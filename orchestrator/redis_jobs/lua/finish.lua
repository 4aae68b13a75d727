-- args: lease, change, completed, cancelled, ttl. Returns 0 when the lease is lost.
local lease = args.lease
if closed_as(lease) == 'finish' then
  return 1
end
if not holds(lease) then
  return 0
end
if cancel_requested(lease.job) then
  terminate(lease.job, lease.entry, args.cancelled, closing(lease, 'finish'))
  return 1
end
if args.completed then
  local seconds = tonumber(NOW) - tonumber(redis.call('HGET', JOB .. lease.job, 'begun_at'))
  local mean = redis.call('HGET', STATS, 'mean_seconds')
  mean = mean and tonumber(mean) * 0.8 + seconds * 0.2 or seconds
  redis.call('HSET', STATS, 'mean_seconds', tostring(mean))
end
terminate(lease.job, lease.entry, args.change, closing(lease, 'finish'))
return 1
