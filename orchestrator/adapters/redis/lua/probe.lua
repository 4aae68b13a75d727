-- A write that needs memory, as a submission does: refused where that would be.
redis.call('SET', DONE .. 'probe', NOW, 'EX', 60)
return 1
