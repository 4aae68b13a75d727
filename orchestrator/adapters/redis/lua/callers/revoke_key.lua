-- args: key, now (JSON text). Returns whether there is such a key. Its own styles are deleted.
even_when_full()
if redis.call('EXISTS', API_KEY .. args.key) == 0 then
  return 0
end
redis.call('HSETNX', API_KEY .. args.key, 'revoked', args.now)
redis.call('DEL', OWN_STYLES .. args.key)
return 1
