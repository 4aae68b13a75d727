-- args: job, on, ttl. Returns 'missing', 'ended' (without a picture, so that there is nothing to keep) or the job's record. With a
-- parent its children are marked and unmarked, those that have ended without a picture left out.
local id = args.job
local status = redis.call('HGET', JOB .. id, 'status')
local family = TREE.family(id)

local function has_picture(of)
  if #family > 0 and of == id then
    return status ~= FAILED and (status ~= CANCELLED or redis.call('HEXISTS', JOB .. id, 'some_completed') == 1)
  end
  local state = redis.call('HGET', JOB .. of, 'status')
  return state and (not TERMINAL[state] or state == COMPLETED)
end

if not status then
  return 'missing'
elseif args.on and not has_picture(id) then
  return 'ended'
elseif not args.on then
  even_when_full()
end
local parent = redis.call('HGET', JOB .. id, 'parent')
local changed = {id, unpack(family)}
local unmarked = false
for _, each in ipairs(changed) do
  local job = redis.call('HMGET', JOB .. each, 'status', 'favourite', 'owner')
  local owner = job[3] or ''
  if job[1] and args.on and has_picture(each) then
    redis.call('HSET', JOB .. each, 'favourite', '1')
    if each == id then
      redis.call('ZADD', FAVOURITES .. owner, created_micros(each), each)
    end
    if TERMINAL[job[1]] then
      redis.call('PERSIST', JOB .. each)
      redis.call('ZREM', EXPIRING, expiring_name(each, owner))
    end
  elseif job[1] and not args.on and job[2] == '1' then
    redis.call('ZREM', FAVOURITES .. owner, each)
    -- From now on it is kept for as long as if it had just ended.
    redis.call('HSET', JOB .. each, 'favourite', '0', 'updated_at', NOW)
    unmarked = true
    if TERMINAL[job[1]] then
      let_expire(each, args.ttl)
    end
  end
end
-- The parent has the photo, which is kept for as long.
if parent then
  if unmarked and TERMINAL[redis.call('HGET', JOB .. parent, 'status')] then
    redis.call('HSET', JOB .. parent, 'updated_at', NOW)
  end
  TREE.let_expire(parent, args.ttl)
elseif #family > 0 then
  TREE.let_expire(id, args.ttl)
end
return redis.call('HGETALL', JOB .. id)
