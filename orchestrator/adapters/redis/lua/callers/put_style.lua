-- args: owner, name, style (JSON text), most. Returns 'ok', 'full' (there are most others), or 'revoked' (the owner's key).
if args.owner ~= '' and redis.call('HEXISTS', API_KEY .. args.owner, 'revoked') == 1 then
  return 'revoked'
end
local own = OWN_STYLES .. args.owner
if redis.call('HEXISTS', own, args.name) == 0 and redis.call('HLEN', own) >= args.most then
  return 'full'
end
redis.call('HSET', own, args.name, args.style)
return 'ok'
