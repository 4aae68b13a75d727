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
-- The first write needs memory, so that a full Redis refuses the replay as a whole.
redis.call('HSET', JOB .. id, 'queued_at', NOW)
-- Who watches the job from its beginning must not be told its earlier end.
redis.call('DEL', EVENTS .. id)
redis.call('HDEL', JOB .. id, 'error', 'letter', 'preview_seq', 'declined_at', 'moment', 'parent_preview')
TREE.reopen(id)
redis.call('PERSIST', JOB .. id)
redis.call('ZREM', EXPIRING, expiring_name(id, redis.call('HGET', JOB .. id, 'owner') or ''))
redis.call('ZREM', CLEANUP, id)
redis.call('XDEL', DEAD, args.letter)
local job = redis.call('HMGET', JOB .. id, 'cost', 'cancel_after')
enqueue(id, tonumber(job[1]) or 1, job[2] and tonumber(job[2]) * 1000, args.queued,
  {'attempts', '0', 'outages', '0', 'number', '0'})
QUOTA.reserve_again(id)
redis.call('SET', DONE .. args.nonce, id, 'EX', 60)
return 'replayed'
