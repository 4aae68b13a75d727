-- args: name, token, and answer, or interrupted (another try may begin), or neither (the try failed, and is forgotten). A
-- try that another has replaced changes nothing.
even_when_full()
local key = ONCE .. args.name
if redis.call('HGET', key, 'token') ~= args.token then
  return 0
elseif args.answer then
  redis.call('HSET', key, 'answer', args.answer)
elseif args.interrupted then
  redis.call('HSET', key, 'locked_until', '0', 'token', '')
else
  redis.call('DEL', key)
end
return 1
