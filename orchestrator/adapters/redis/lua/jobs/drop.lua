-- args: job, letter (entry of its dead letter). The job stays failed, and its photo is deleted soon: a child's with the last
-- letter of its parent's children, unless one of those was completed.
even_when_full()
redis.call('XDEL', DEAD, args.letter)
redis.call('HDEL', JOB .. args.job, 'letter')
local parent = redis.call('HGET', JOB .. args.job, 'parent')
if redis.call('ZSCORE', CLEANUP, args.job) then
  redis.call('ZADD', CLEANUP, NOW_MS, args.job)
end
if parent and redis.call('ZSCORE', CLEANUP, parent) and not TREE.has_letter(parent) then
  redis.call('ZADD', CLEANUP, NOW_MS, parent)
end
return 1
