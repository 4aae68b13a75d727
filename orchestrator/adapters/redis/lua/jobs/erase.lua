-- args: job, nonce, ttl. Returns 'erased', 'missing' or 'running'. A parent is erased with its children, and with the last of
-- them. What is stored of each is to be deleted: who stores something later finds no record.
even_when_full()
if redis.call('EXISTS', DONE .. args.nonce) == 1 then
  return 'erased'
end
local status = redis.call('HGET', JOB .. args.job, 'status')
if not status then
  return 'missing'
elseif not TERMINAL[status] then
  return 'running'
end

local function erase(id)
  local job = redis.call('HMGET', JOB .. id, 'photo_digest', 'letter')
  if job[1] then
    redis.call('DEL', PHOTO .. job[1])
  end
  QUOTA.unstore(id)
  if job[2] then
    redis.call('XDEL', DEAD, job[2])
  end
  unlist(id, redis.call('HGET', JOB .. id, 'owner') or '')
  redis.call('DEL', JOB .. id, EVENTS .. id)
  redis.call('ZADD', CLEANUP, NOW_MS, id)
end

for _, child in ipairs(TREE.family(args.job)) do
  erase(child)
end
local parent = redis.call('HGET', JOB .. args.job, 'parent')
erase(args.job)
if parent and TREE.forget(args.job, parent) then
  redis.call('ZREM', TREES, parent)
  erase(parent)
elseif parent and redis.call('PTTL', JOB .. parent) == -1 then
  -- It may have lasted because this child was a favourite.
  TREE.let_expire(parent, args.ttl)
end
redis.call('SET', DONE .. args.nonce, '1', 'EX', 60)
return 'erased'
