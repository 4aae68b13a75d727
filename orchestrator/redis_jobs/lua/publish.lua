-- args: lease, number, progress, change. Returns 0 when the lease is lost.
if not holds(args.lease) then
  return 0
end
local job = redis.call('HMGET', JOB .. args.lease.job, 'number', 'progress')
if tonumber(job[1]) >= args.number then
  return 1
end
local progress = math.max(tonumber(job[2]), args.progress)
apply(args.lease.job, args.change, 'number', args.number, 'progress', tostring(progress))
return 1
