-- args: key, before (the JSON text that was read), after (a JSON text). Returns 'missing', 'changed' (by someone else) or 'ok'.
local now = redis.call('HGET', API_KEY .. args.key, 'secrets')
if not now then
  return 'missing'
elseif now == args.after then
  return 'ok'
elseif now ~= args.before then
  return 'changed'
end
redis.call('HSET', API_KEY .. args.key, 'secrets', args.after)
return 'ok'
