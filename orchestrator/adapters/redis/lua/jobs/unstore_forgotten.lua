-- args: jobs (ids). Returns how many of them have no record any more; what is stored for those counts for nobody now.
even_when_full()
local count = 0
for _, id in ipairs(args.jobs) do
  if redis.call('EXISTS', JOB .. id) == 0 then
    QUOTA.unstore(id)
    count = count + 1
  end
end
return count
