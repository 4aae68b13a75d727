-- args: job. Returns the cost of the jobs that wait before it, or false when it does not wait.
local rank = position_of(args.job)
if not rank then
  return false
end
local job = redis.call('HMGET', JOB .. args.job, 'order', 'submitted')
return tostring(cost_between(rank, tonumber(job[1]), tonumber(job[2])))
