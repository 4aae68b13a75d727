-- args: id, owner, members = {name, value, ...} (may be empty), events (or null: as they were), enabled (or null). Returns
-- whether there is such an endpoint.
even_when_full()
local wanted = redis.call('HGET', ENDPOINTS .. args.owner, args.id)
if not wanted then
  return 0
end
if #args.members > 0 then
  redis.call('HSET', ENDPOINT .. args.id, unpack(args.members))
end
if args.enabled == true then
  redis.call('HDEL', ENDPOINT .. args.id, 'disabled', 'failing', 'pause_until')
elseif args.enabled == false then
  POST.disable(args.id, 'by_owner')
end
if redis.call('HEXISTS', ENDPOINT .. args.id, 'disabled') == 0 then
  redis.call('HSET', ENDPOINTS .. args.owner, args.id, args.events or wanted)
end
return 1
