-- args: name, token, answer (left out: the try failed, and is forgotten). A try that another has replaced changes nothing.
even_when_full()
local key = ONCE .. args.name
if redis.call('HGET', key, 'token') ~= args.token then
  return 0
elseif args.answer then
  redis.call('HSET', key, 'answer', args.answer)
else
  redis.call('DEL', key)
end
return 1
