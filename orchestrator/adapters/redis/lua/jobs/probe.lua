-- A write that needs memory, as a submission does. Redis refuses it where it would refuse a submission.
redis.call('SET', DONE .. 'probe', NOW, 'EX', 60)
return 1
