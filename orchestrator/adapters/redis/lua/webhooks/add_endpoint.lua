-- args: id, owner, members = {name, value, ...}, events, most. Returns whether it was added: an owner has 'most' endpoints.
if redis.call('HEXISTS', ENDPOINTS .. args.owner, args.id) == 1 then
  return 1
elseif redis.call('HLEN', ENDPOINTS .. args.owner) >= args.most then
  return 0
end
redis.call('HSET', ENDPOINT .. args.id, unpack(args.members))
redis.call('HSET', ENDPOINTS .. args.owner, args.id, args.events)
return 1
