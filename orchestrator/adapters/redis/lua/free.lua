-- args: reservation = {name, owner}. One that has been used stays.
even_when_full()
if redis.call('GET', CLAIM .. args.reservation.name) == args.reservation.owner then
  redis.call('DEL', CLAIM .. args.reservation.name)
end
return 1
