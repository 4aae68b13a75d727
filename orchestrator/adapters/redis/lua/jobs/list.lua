-- args: owner, favourites (whether only those), limit, scan (how many jobs are looked at), most and least (of created_at, in
-- microseconds; or null), last (id of the last job of the page before this one, whose time is most; or null), states = {state
-- = true} (or null), style (or null), unmarked (whether favourites are left out).
-- Returns the records of a page of the owner's jobs, the newest first, and the place from which the next page goes on: {time,
-- id}, or {} when there are no more.
local key = (args.favourites and FAVOURITES or LISTED) .. args.owner
local most, least = args.most and string.format('%.0f', args.most) or '+inf', args.least and string.format('%.0f', args.least) or '-inf'
local records, looked, offset, place, gone = {}, 0, 0, {}, {}

local function fits(id)
  local job = redis.call('HMGET', JOB .. id, 'status', 'style', 'favourite')
  if not job[1] then
    gone[#gone + 1] = id
    return false
  end
  return (not args.states or args.states[job[1]]) and (not args.style or args.style == job[2])
    and not (args.unmarked and job[3] == '1')
end

-- Records may expire before sweep.lua comes by.
local function answer(next)
  for _, id in ipairs(gone) do
    redis.call('ZREM', LISTED .. args.owner, id)
    redis.call('ZREM', FAVOURITES .. args.owner, id)
  end
  return {records, next}
end

while true do
  local found = redis.call('ZREVRANGEBYSCORE', key, most, least, 'WITHSCORES', 'LIMIT', offset, 100)
  offset = offset + 100
  for i = 1, #found, 2 do
    local id, time = found[i], found[i + 1]
    if not (args.last and tonumber(time) == args.most and id >= args.last) then
      if #records == args.limit or looked == args.scan then
        return answer(place)
      end
      looked = looked + 1
      place = {time, id}
      if fits(id) then
        records[#records + 1] = redis.call('HGETALL', JOB .. id)
      end
    end
  end
  if #found < 200 then
    return answer({})
  end
end
