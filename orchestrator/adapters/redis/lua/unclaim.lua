-- args: claim = {name, owner}. One that has been used stays.
even_when_full()
if redis.call('GET', CLAIM .. args.claim.name) == args.claim.owner then
  redis.call('DEL', CLAIM .. args.claim.name)
end
return 1
