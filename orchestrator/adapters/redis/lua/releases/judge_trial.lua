-- Remembers how a trial of a release ended, and tells the operator.
-- args: trial, begun (JSON), decision, judged (JSON), event (JSON), keep (seconds). Returns whether it was new.
local key = CANARY .. args.trial
local before = redis.call('HGET', key, 'decision')
if before and (before ~= 'undecided' or args.decision == 'undecided') then
  return 0
end
redis.call('HSETNX', key, 'begun', args.begun)
redis.call('ZADD', CANARIES, 'NX', NOW_MS, args.trial)
redis.call('HSET', key, 'decision', args.decision, 'judged', args.judged)
redis.call('EXPIRE', key, args.keep)
POST.add('releases', 'release_' .. args.trial .. '_' .. args.decision, NOW_MS, {'kind', 'releases', 'event', args.event})
return 1
