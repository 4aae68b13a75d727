-- args: reservation = {name, owner, ms}. Returns 1 when the owner has the name now, 0 when another owner has it.
local holder = redis.call('GET', RESERVATION .. args.reservation.name)
if holder and holder ~= args.reservation.owner then
  return 0
end
redis.call('SET', RESERVATION .. args.reservation.name, args.reservation.owner, 'PX', args.reservation.ms)
return 1
