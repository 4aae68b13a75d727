-- args: name, token, lock_ms. Returns 1, or 0 when this try is over or another one has replaced it.
even_when_full()
local key = ONCE .. args.name
local found = redis.call('HMGET', key, 'token', 'answer')
if found[1] ~= args.token or found[2] then
  return 0
end
redis.call('HSET', key, 'locked_until', NOW_MS + args.lock_ms)
return 1
