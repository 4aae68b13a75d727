-- args: count, lease_ms. Takes what is to be tried now, fairly from all lanes. Returns {receiver, its endpoint's fields,
-- the delivery's fields} of each.
even_when_full()
local taken = {}

-- Processes of older versions write a stream.
local function take_in_older()
  for _, entry in ipairs(redis.call('XRANGE', OUTBOX, '-', '+', 'COUNT', 100)) do
    local fields = {}
    for i = 1, #entry[2], 2 do
      fields[entry[2][i]] = entry[2][i + 1]
    end
    POST.add(fields.to, fields.id, string.match(entry[1], '%d+'), {'kind', fields.to, 'event', fields.event})
    redis.call('XDEL', OUTBOX, entry[1])
  end
end

local function take(receiver)
  redis.call('ZREMRANGEBYSCORE', BUSY .. receiver, '-inf', NOW_MS)
  local paused = (tonumber(redis.call('HGET', ENDPOINT .. receiver, 'pause_until')) or 0) > NOW_MS
  local room = paused and 0 or math.min(POST.room(receiver), args.count - #taken)
  if room > 0 then
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', LANE .. receiver, '-inf', NOW_MS, 'LIMIT', 0, room)) do
      local key = POST.key(receiver, id)
      if redis.call('EXISTS', key) == 0 then
        redis.call('ZREM', LANE .. receiver, id)
      else
        redis.call('HINCRBY', key, 'tries', 1)
        redis.call('HSETNX', key, 'first', NOW_MS)
        redis.call('HSET', key, 'last', NOW_MS)
        redis.call('ZADD', LANE .. receiver, NOW_MS + args.lease_ms, id)
        redis.call('ZADD', BUSY .. receiver, NOW_MS + args.lease_ms, id)
        taken[#taken + 1] = {receiver, redis.call('HGETALL', ENDPOINT .. receiver), redis.call('HGETALL', key)}
      end
    end
  end
  POST.schedule(receiver)
end

take_in_older()
for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', LANES, '-inf', NOW_MS, 'LIMIT', 0, 1000)) do
  if #taken >= args.count then
    break
  end
  take(receiver)
end
return taken
