-- args: job, record = {name, value, ...}, cost, change, max_waiting (or null), cancel_after_ms (or null), reservation = {name,
-- owner, ms} (or null), admission = {owner, plan, day, ms, bytes, objects, jobs = {{job, ms, style, tier, objects}, ...}} (or null),
-- pricing, children = {{job, record, cost}, ...} (or null: it is no parent), hold (whether those after the first wait until it
-- has ended or was given back).
-- Returns {'ok', position in the queue (or nil)}, {'full', number of waiting jobs}, {'reserved'} (by another owner) or
-- {'quota', limit, what is taken}. All of it is done, or nothing.
local jobs = args.children or {args}
if redis.call('EXISTS', JOB .. args.job) == 1 then
  return {'ok', position_of(jobs[1].job)}
end
local reservation = args.reservation
if reservation and redis.call('GET', RESERVATION .. reservation.name) ~= reservation.owner then
  return {'reserved'}
end
local waiting = redis.call('ZCARD', WAITING)
if args.max_waiting and waiting + #jobs > args.max_waiting then
  return {'full', waiting}
end
if args.admission then
  local limit, taken = QUOTA.admit(args.admission.owner, args.job, args.admission, args.pricing)
  if limit then
    return {'quota', limit, taken}
  end
end
if args.children then
  local family = {}
  for i, child in ipairs(args.children) do
    family[i] = child.job
  end
  redis.call('HSET', JOB .. args.job, 'begun', '0', 'family', table.concat(family, ' '), unpack(args.record))
  for i, child in ipairs(args.children) do
    redis.call('HSET', JOB .. args.job, 'child:' .. child.job, QUEUED .. ' 0')
    if args.hold and i > 1 then
      redis.call('HSET', JOB .. args.job, 'holds', '1')
      redis.call('HSET', JOB .. child.job, 'held', '1')
    end
  end
  apply(args.job, args.change)
  redis.call('ZADD', TREES, NOW_MS, args.job)
end
for _, job in ipairs(jobs) do
  redis.call('HSET', JOB .. job.job, 'begun', '0')
  enqueue(job.job, job.cost, args.cancel_after_ms, args.change, job.record)
end
enlist(args.job)
if reservation then
  redis.call('SET', RESERVATION .. reservation.name, used(reservation), 'PX', reservation.ms)
end
return {'ok', position_of(jobs[1].job)}
