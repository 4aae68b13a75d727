-- args: id, owner. Returns whether there was such an endpoint.
even_when_full()
if redis.call('HDEL', ENDPOINTS .. args.owner, args.id) == 0 then
  return 0
end
POST.drop_all(args.id)
redis.call('DEL', ENDPOINT .. args.id, SENT .. args.id)
return 1
