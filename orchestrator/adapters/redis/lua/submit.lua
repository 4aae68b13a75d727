-- args: job, record = {name, value, ...}, change, max_waiting (or null), claim = {name, owner, ms} (or null).
-- Returns {'queued'}, {'full', how many wait} or {'claimed'} (by somebody else).
if redis.call('EXISTS', JOB .. args.job) == 1 then
  return {'queued'}
end
local claim = args.claim
if claim and redis.call('GET', CLAIM .. claim.name) ~= claim.owner then
  return {'claimed'}
end
local waiting = redis.call('ZCARD', WAITING)
if args.max_waiting and waiting >= args.max_waiting then
  return {'full', waiting}
end
ensure_queue()
local order = redis.call('HINCRBY', STATS, 'order', 1)
local entry = redis.call('XADD', QUEUE, '*', 'job', args.job)
redis.call('ZADD', WAITING, order, args.job)
redis.call('HSET', JOB .. args.job, 'entry', entry, 'order', order, 'begun', '0', unpack(args.record))
apply(args.job, args.change)
if claim then
  redis.call('SET', CLAIM .. claim.name, 'used', 'PX', claim.ms)
end
return {'queued'}
