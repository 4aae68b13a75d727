-- args: lease, lease_ms. Returns -1 when the lease is lost, else 1 when a cancel was requested, else 0.
even_when_full()
if not holds(args.lease) then
  return -1
end
mark_alive(args.lease.worker)
redis.call('XCLAIM', QUEUE, GROUP, args.lease.worker, 0, args.lease.entry, 'IDLE', 0, 'JUSTID')
return cancel_requested(args.lease.job) and 1 or 0
