-- args: silence_ms (a worker that has been silent for longer is not named).
return redis.call('ZRANGEBYSCORE', WORKERS, NOW_MS - args.silence_ms, '+inf')
