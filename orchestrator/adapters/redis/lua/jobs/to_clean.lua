-- args: count. Returns ids of jobs whose objects are to be deleted now.
return redis.call('ZRANGEBYSCORE', CLEANUP, '-inf', NOW_MS, 'LIMIT', 0, args.count)
