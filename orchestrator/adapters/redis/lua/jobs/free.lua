-- args: reservation = {name, owner}. A reservation that was used stays.
even_when_full()
if redis.call('GET', RESERVATION .. args.reservation.name) == args.reservation.owner then
  redis.call('DEL', RESERVATION .. args.reservation.name)
end
return 1
