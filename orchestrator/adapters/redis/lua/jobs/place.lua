-- args: job. Returns the number of jobs that probably begin before it, and their cost; false when it does not wait.
local rank = position_of(args.job)
if not rank then
  return false
end
local job = redis.call('HMGET', JOB .. args.job, 'order', 'submitted')
return {rank, tostring(cost_between(rank, tonumber(job[1]), tonumber(job[2])))}
