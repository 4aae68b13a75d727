-- args: job, letter (entry of its dead letter), nonce, queued (a change). Makes a failed job wait again, as if it were new,
-- except that its attempts go on being numbered. Returns 'replayed', 'missing', 'not_failed' or 'cleaned' (its photo is gone).
local id = args.job
if redis.call('EXISTS', DONE .. args.nonce) == 1 then
  return 'replayed'
end
local status = redis.call('HGET', JOB .. id, 'status')
if not status then
  return 'missing'
elseif status ~= FAILED then
  return 'not_failed'
end
local due = redis.call('ZSCORE', CLEANUP, id)
if not due or tonumber(due) <= NOW_MS then
  return 'cleaned'
end
ensure_queue()
local order = redis.call('HINCRBY', STATS, 'order', 1)
local entry = redis.call('XADD', QUEUE, '*', 'job', id)
redis.call('ZADD', WAITING, order, id)
-- Who watches the job from its beginning must not be told its earlier end.
redis.call('DEL', EVENTS .. id)
redis.call('HDEL', JOB .. id, 'error', 'letter', 'preview_seq', 'declined_at')
local job = redis.call('HMGET', JOB .. id, 'cost', 'cancel_after')
local cost = tonumber(job[1]) or 1
local submitted = tonumber(redis.call('HINCRBYFLOAT', STATS, 'submitted', cost))
redis.call('HSET', JOB .. id, 'entry', entry, 'order', order, 'attempts', '0', 'outages', '0',
  'submitted', tostring(submitted - cost), 'queued_at', NOW)
if job[2] then
  redis.call('ZADD', DEADLINES, NOW_MS + tonumber(job[2]) * 1000, id)
end
apply(id, args.queued, 'number', '0')
redis.call('PERSIST', JOB .. id)
redis.call('ZREM', CLEANUP, id)
redis.call('XDEL', DEAD, args.letter)
take_in()
QUOTA.reserve_again(id)
count('submitted', id)
redis.call('SET', DONE .. args.nonce, id, 'EX', 60)
return 'replayed'
