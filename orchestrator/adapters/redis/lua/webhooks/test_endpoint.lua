-- args: id, owner, event, kind. Returns 'missing', 'disabled' or 'added'.
local wanted = redis.call('HGET', ENDPOINTS .. args.owner, args.id)
if not wanted then
  return 'missing'
elseif wanted == '' then
  return 'disabled'
end
POST.add(args.id, args.event, NOW_MS, {'kind', args.kind})
return 'added'
