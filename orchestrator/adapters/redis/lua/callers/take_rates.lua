-- args: limits = {{of, seconds, quota}, ...}. Counts one request for all of them, or for none when one is full.
-- Returns {refused, remaining, reset (seconds)} for each limit.
-- A limit's hash has a field for each of the slots into which its time is cut: slot number -> requests in it. A slot counts
-- until a whole length has passed since its *end*, so that no stretch of that length ever holds more than the quota.
-- Counts live in memory alone: with appendfsync always, each request would wait for the disk otherwise. A restart of Redis
-- begins them anew. (Redis 6.2 asks for the first call, which 7 no longer needs.)
redis.replicate_commands()
redis.set_repl(redis.REPL_NONE)
even_when_full()
local SLOTS = 60
local now, answer, full, places = tonumber(NOW), {}, false, {}
for i, limit in ipairs(args.limits) do
  local width = limit.seconds / SLOTS
  local key, slot = RATE .. limit.of, math.floor(now / width)
  local counted, oldest, gone = 0, nil, {}
  local found = redis.call('HGETALL', key)
  for at = 1, #found, 2 do
    local number = tonumber(found[at])
    if number < slot - SLOTS then
      gone[#gone + 1] = found[at]
    else
      counted = counted + found[at + 1]
      oldest = math.min(oldest or number, number)
    end
  end
  local refused = counted >= limit.quota
  full = full or refused
  places[i] = {key = key, slot = slot, gone = gone}
  answer[i] = {refused and 1 or 0, limit.quota - counted, (oldest or slot), width}
end
for i, limit in ipairs(args.limits) do
  local place, found = places[i], answer[i]
  if not full then
    if #place.gone > 0 then
      redis.call('HDEL', place.key, unpack(place.gone))
    end
    redis.call('HINCRBY', place.key, place.slot, 1)
    redis.call('EXPIRE', place.key, math.ceil(limit.seconds + 2 * found[4]))
    found[2] = found[2] - 1
  end
  -- The oldest slot that counts is the first to be forgotten.
  local reset = math.ceil((found[3] + SLOTS + 1) * found[4] - now)
  answer[i] = {found[1], math.max(0, found[2]), math.max(1, reset)}
end
return answer
