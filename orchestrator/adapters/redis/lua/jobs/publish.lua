-- args: lease, number, progress, change, preview. Returns 0 when the lease is lost.
even_when_full()
if not holds(args.lease) then
  return 0
end
local id = args.lease.job
local job = redis.call('HMGET', JOB .. id, 'number', 'progress', 'preview_seq')
if tonumber(job[1]) >= args.number then
  return 1
end
if args.preview then
  -- Redis frees the memory of deleted stream entries by nodes of 4096 bytes. Padded to that size, a preview has a node of
  -- its own; JSON allows the spaces.
  args.change.event = args.change.event .. string.rep(' ', 4096 - #args.change.event)
end
local progress = math.max(tonumber(job[2]), args.progress)
apply(id, args.change, 'number', args.number, 'progress', tostring(progress))
if args.preview then
  -- Previews are large, and the newest one replaces those before it.
  if job[3] then
    redis.call('XDEL', EVENTS .. id, job[3])
  end
  redis.call('HSET', JOB .. id, 'preview_seq', redis.call('HGET', JOB .. id, 'last_seq'))
end
return 1
