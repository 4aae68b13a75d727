-- args: job, record = {name, value, ...}, change. Returns 1 when the job is new.
if redis.call('EXISTS', JOB .. args.job) == 1 then
  return 0
end
ensure_queue()
local order = redis.call('HINCRBY', STATS, 'order', 1)
local entry = redis.call('XADD', QUEUE, '*', 'job', args.job)
redis.call('ZADD', WAITING, order, args.job)
redis.call('HSET', JOB .. args.job, 'entry', entry, 'order', order, 'begun', '0', unpack(args.record))
apply(args.job, args.change)
return 1
