-- args: lease, act ('retry' counts the attempt, 'release' does not), delay_ms, queued (a change), failed (a change with
-- code and detail; only with 'retry'), cancelled, max_deliveries, ttl, dead_letters.
-- Returns what happened: 'retry', 'release', 'exhausted', or 'lost'.
local lease, act = args.lease, args.act
local before = closed_as(lease)
if before and before ~= 'finish' then
  return before
end
if not holds(lease) then
  return 'lost'
end
local id = lease.job
if cancel_requested(id) then
  terminate(id, lease.entry, args.cancelled, closing(lease, act))
  return act
end
if act == 'release' then
  redis.call('HINCRBY', JOB .. id, 'attempts', -1)
elseif tonumber(redis.call('HGET', JOB .. id, 'attempts')) >= args.max_deliveries then
  dead_letter(id, args.failed.code, args.failed.detail)
  terminate(id, lease.entry, args.failed, closing(lease, 'exhausted'))
  return 'exhausted'
end
-- The entry stays where it is, so that the job keeps its place before those that came later.
redis.call('XCLAIM', QUEUE, GROUP, PARKED, 0, lease.entry, 'IDLE', 0, 'JUSTID')
redis.call('ZADD', DELAYED, NOW_MS + args.delay_ms, id)
redis.call('ZADD', WAITING, redis.call('HGET', JOB .. id, 'order'), id)
apply(id, args.queued, closing(lease, act))
return act
