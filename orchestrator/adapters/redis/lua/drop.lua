-- args: job, letter (entry of its dead letter). The job stays failed, and its photo is deleted soon.
even_when_full()
redis.call('XDEL', DEAD, args.letter)
if redis.call('ZSCORE', CLEANUP, args.job) then
  redis.call('ZADD', CLEANUP, NOW_MS, args.job)
end
return 1
