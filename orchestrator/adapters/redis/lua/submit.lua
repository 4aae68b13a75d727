-- args: job, record = {name, value, ...}, cost, change, max_waiting (or null), cancel_after_ms (or null), reservation = {name,
-- owner, ms} (or null), admission = {owner, plan, day, ms, bytes, objects, style, tier} (or null), pricing.
-- Returns {'ok', position in the queue (or nil)}, {'full', number of waiting jobs}, {'reserved'} (by another owner) or
-- {'quota', limit, what is taken}.
if redis.call('EXISTS', JOB .. args.job) == 1 then
  return {'ok', position_of(args.job)}
end
local reservation = args.reservation
if reservation and redis.call('GET', RESERVATION .. reservation.name) ~= reservation.owner then
  return {'reserved'}
end
local waiting = redis.call('ZCARD', WAITING)
if args.max_waiting and waiting >= args.max_waiting then
  return {'full', waiting}
end
if args.admission then
  local limit, taken = QUOTA.admit(args.admission.owner, args.job, args.admission, args.pricing)
  if limit then
    return {'quota', limit, taken}
  end
end
redis.call('HSET', JOB .. args.job, 'begun', '0')
enqueue(args.job, args.cost, args.cancel_after_ms, args.change, args.record)
enlist(args.job)
if reservation then
  redis.call('SET', RESERVATION .. reservation.name, 'used', 'PX', reservation.ms)
end
return {'ok', position_of(args.job)}
