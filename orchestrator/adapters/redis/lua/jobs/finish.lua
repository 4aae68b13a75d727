-- args: lease, change, completed, cancelled, ttl. Returns 0 when the lease is lost.
even_when_full()
local lease = args.lease
if closed_as(lease) == 'finish' then
  return 1
end
if not holds(lease) then
  return 0
end
local change = cancel_requested(lease.job) and args.cancelled or args.change
terminate(lease.job, lease.entry, change, closing(lease, 'finish'))
measure_end(lease.job)
return 1
