-- args: job, after. Returns the job's status (or nil) and its events after that, as of one moment.
-- A script, because a full Redis refuses every MULTI, also one that only reads.
return {redis.call('HGET', JOB .. args.job, 'status'), redis.call('XRANGE', EVENTS .. args.job, '(' .. args.after, '+')}
