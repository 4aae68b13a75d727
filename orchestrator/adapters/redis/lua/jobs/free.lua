-- args: reservation = {name, owner}. A reservation that was used stays: see cancel.lua.
even_when_full()
if redis.call('GET', RESERVATION .. args.reservation.name) == args.reservation.owner then
  redis.call('DEL', RESERVATION .. args.reservation.name)
end
return 1
