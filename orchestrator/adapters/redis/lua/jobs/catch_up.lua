-- args: job, after. Returns the job's status (or nil) and its events after that seq, as of one moment.
-- It is a script because a full Redis refuses every MULTI, even one that only reads.
return {redis.call('HGET', JOB .. args.job, 'status'), redis.call('XRANGE', EVENTS .. args.job, '(' .. args.after, '+')}
