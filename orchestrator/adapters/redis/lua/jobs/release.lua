-- args: lease, act ('retry' counts the attempt, 'postpone' counts an outage instead, 'release' and 'decline' count
-- neither), delay_ms, kind (with 'decline': workers of this kind do not get the job again), queued (a change), failed (a
-- change with code and detail; with 'retry' and 'postpone'), cancelled, max_deliveries, max_outages, ttl, dead_letters.
-- Returns what happened: 'retry', 'postpone', 'release', 'decline', 'exhausted', or 'lost'.
even_when_full()
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
local exhausted = false
if act ~= 'retry' then
  redis.call('HINCRBY', JOB .. id, 'attempts', -1)
  exhausted = act == 'postpone' and redis.call('HINCRBY', JOB .. id, 'outages', 1) >= args.max_outages
else
  exhausted = tonumber(redis.call('HGET', JOB .. id, 'attempts')) >= args.max_deliveries
end
if exhausted then
  dead_letter(id, args.failed.code, args.failed.detail)
  terminate(id, lease.entry, args.failed, closing(lease, 'exhausted'))
  measure_end(id)
  return 'exhausted'
end
if act == 'decline' then
  redis.call('HSET', JOB .. id, 'declined_by:' .. args.kind, '1')
  leave_to_others(id, lease.entry)
else
  -- The entry stays in the stream, so that the job keeps its place before later ones.
  redis.call('XCLAIM', QUEUE, GROUP, PARKED, 0, lease.entry, 'IDLE', 0, 'JUSTID')
  redis.call('ZADD', DELAYED, NOW_MS + args.delay_ms, id)
  redis.call('ZADD', WAITING, redis.call('HGET', JOB .. id, 'order'), id)
end
apply(id, args.queued, closing(lease, act))
return act
