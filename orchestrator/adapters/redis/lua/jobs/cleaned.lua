-- args: jobs (ids).
even_when_full()
for _, id in ipairs(args.jobs) do
  redis.call('ZREM', CLEANUP, id)
  QUOTA.unstore(id)
end
return 1
