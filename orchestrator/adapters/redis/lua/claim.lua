-- args: claim = {name, owner, ms}. Returns 1 when the name is the owner's now, 0 when somebody else has it.
local holder = redis.call('GET', CLAIM .. args.claim.name)
if holder and holder ~= args.claim.owner then
  return 0
end
redis.call('SET', CLAIM .. args.claim.name, args.claim.owner, 'PX', args.claim.ms)
return 1
