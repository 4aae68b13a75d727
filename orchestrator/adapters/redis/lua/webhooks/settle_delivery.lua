-- args: receiver, id, tries, outcome ('delivered', 'refused', or 'disable' with a reason), reason, answer (a short text for the
-- owner), delay_ms (until the next try), pause_ms (or null: for which the receiver asked for rest), give_up_ms (after which
-- it is tried no more, or null). Returns 'delivered', 'retried', 'given_up', 'disabled', or 'over' (it was settled before).
even_when_full()
local receiver, id = args.receiver, args.id
local key, state = POST.key(receiver, id), ENDPOINT .. receiver
local delivery = redis.call('HMGET', key, 'tries', 'written', 'first', 'kind', 'job')
if not delivery[1] or (delivery[1] ~= tostring(args.tries) and args.outcome == 'refused') then
  return 'over'
end
local shown = {id = id, kind = delivery[4], job = delivery[5] or nil, tries = tonumber(delivery[1]),
  written = tonumber(delivery[2]), answer = args.answer}
redis.call('ZREM', BUSY .. receiver, id)
if args.outcome == 'delivered' then
  POST.drop(receiver, id)
  POST.note(receiver, 'delivered', shown)
  redis.call('HSET', state, 'succeeded', NOW_MS)
  redis.call('HDEL', state, 'failing', 'pause_until')
  POST.schedule(receiver)
  return 'delivered'
end
if args.outcome == 'disable' then
  POST.note(receiver, 'given_up', shown)
  POST.disable(receiver, args.reason)
  return 'disabled'
end
redis.call('HSETNX', state, 'failing', NOW_MS)
if type(args.pause_ms) == 'number' then
  redis.call('HSET', state, 'pause_until', NOW_MS + args.pause_ms)
end
local last = type(args.give_up_ms) == 'number' and tonumber(delivery[2]) + args.give_up_ms
if not last or NOW_MS < last then
  -- The last try is at the end of that time.
  local due = NOW_MS + args.delay_ms
  redis.call('HSET', key, 'answer', args.answer)
  redis.call('ZADD', LANE .. receiver, last and math.min(due, last) or due, id)
  POST.schedule(receiver)
  return 'retried'
end
POST.drop(receiver, id)
POST.note(receiver, 'given_up', shown)
if (tonumber(redis.call('HGET', state, 'succeeded')) or 0) < tonumber(delivery[3]) then
  POST.disable(receiver, 'failing')
  return 'disabled'
end
POST.schedule(receiver)
return 'given_up'
