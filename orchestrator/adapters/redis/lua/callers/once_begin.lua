-- args: name, fingerprint, token (of this try), id (a new one), lock_ms, seconds.
-- Returns {'answered', answer}, {'busy'}, {'other'} (fingerprint), or {'begun', id, 1 when a try before this one was cut short}.
local key = ONCE .. args.name
local found = redis.call('HMGET', key, 'fingerprint', 'answer', 'locked_until', 'token', 'id', 'earlier')
if found[1] then
  if found[1] ~= args.fingerprint then
    return {'other'}
  elseif found[2] then
    return {'answered', found[2]}
  elseif found[4] == args.token then
    return {'begun', found[5], tonumber(found[6])}
  elseif tonumber(found[3]) > NOW_MS then
    return {'busy'}
  end
end
local id, earlier = found[5] or args.id, found[1] and 1 or 0
redis.call('HSET', key, 'fingerprint', args.fingerprint, 'token', args.token, 'id', id, 'earlier', earlier,
  'locked_until', NOW_MS + args.lock_ms)
redis.call('EXPIRE', key, args.seconds)
return {'begun', id, earlier}
