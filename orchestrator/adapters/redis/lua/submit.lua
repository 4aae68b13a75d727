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
ensure_queue()
local order = redis.call('HINCRBY', STATS, 'order', 1)
local entry = redis.call('XADD', QUEUE, '*', 'job', args.job)
redis.call('ZADD', WAITING, order, args.job)
-- The cost of all jobs before this one since the beginning: see cost_between.
local submitted = tonumber(redis.call('HINCRBYFLOAT', STATS, 'submitted', args.cost))
redis.call('HSET', JOB .. args.job, 'entry', entry, 'order', order, 'begun', '0',
  'submitted', tostring(submitted - args.cost), unpack(args.record))
apply(args.job, args.change)
take_in()
if args.cancel_after_ms then
  redis.call('ZADD', DEADLINES, NOW_MS + args.cancel_after_ms, args.job)
end
count('submitted', args.job)
if reservation then
  redis.call('SET', RESERVATION .. reservation.name, 'used', 'PX', reservation.ms)
end
return {'ok', position_of(args.job)}
