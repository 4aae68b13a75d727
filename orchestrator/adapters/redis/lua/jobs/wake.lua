-- args: key (of a stream), seconds (after which it is deleted). Ends a blocked XREAD of that stream.
even_when_full()
redis.call('XADD', args.key, 'MAXLEN', 1, '*', 'wake', '1')
redis.call('EXPIRE', args.key, args.seconds)
return 1
