-- args: reservation = {name, owner, ms}. Returns 1 when the name is the owner's now, 0 when somebody else has it.
local holder = redis.call('GET', CLAIM .. args.reservation.name)
if holder and holder ~= args.reservation.owner then
  return 0
end
redis.call('SET', CLAIM .. args.reservation.name, args.reservation.owner, 'PX', args.reservation.ms)
return 1
