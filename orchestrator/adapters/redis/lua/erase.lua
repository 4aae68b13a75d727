-- args: job, nonce. Returns 'erased', 'missing' or 'running'.
even_when_full()
if redis.call('EXISTS', DONE .. args.nonce) == 1 then
  return 'erased'
end
local status = redis.call('HGET', JOB .. args.job, 'status')
local letter = redis.call('HGET', JOB .. args.job, 'letter')
if not status then
  return 'missing'
elseif not TERMINAL[status] then
  return 'running'
end
local digest = redis.call('HGET', JOB .. args.job, 'photo_digest')
if digest then
  redis.call('DEL', PHOTO .. digest)
end
QUOTA.unstore(args.job)
if letter then
  redis.call('XDEL', DEAD, letter)
end
redis.call('ZREM', CLEANUP, args.job)
unlist(args.job, redis.call('HGET', JOB .. args.job, 'owner') or '')
redis.call('DEL', JOB .. args.job, EVENTS .. args.job)
redis.call('SET', DONE .. args.nonce, '1', 'EX', 60)
return 'erased'
