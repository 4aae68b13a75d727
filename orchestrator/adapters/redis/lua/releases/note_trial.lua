-- Adds to what a trial of a release has measured.
-- args: trial (its id), begun (JSON: the canary and the live version), nonce, sums {name: number}, unit, pair (JSON), gain,
-- most (pairs that are kept), keep (seconds), seen (seconds for which a nonce is known).
-- CANARY .. id                hash: 'begun', 'judged', and the sums
-- CANARY .. id:newest         list: pairs, the newest first
-- CANARY .. id:worst          sorted set: pairs, by what their score has gained
-- CANARY .. id:units          HyperLogLog: whose jobs it made
local key = CANARY .. args.trial
if not redis.call('SET', DONE .. 'trial:' .. args.trial .. ':' .. args.nonce, '1', 'NX', 'EX', args.seen) then
  return 0
end
redis.call('HSETNX', key, 'begun', args.begun)
redis.call('ZADD', CANARIES, 'NX', NOW_MS, args.trial)
redis.call('ZREMRANGEBYSCORE', CANARIES, '-inf', NOW_MS - args.keep * 1000)
for name, amount in pairs(args.sums) do
  redis.call('HINCRBYFLOAT', key, 'sum:' .. name, amount)
end
redis.call('EXPIRE', key, args.keep)
if args.unit then
  redis.call('PFADD', key .. ':units', args.unit)
  redis.call('EXPIRE', key .. ':units', args.keep)
end
if args.pair then
  redis.call('LPUSH', key .. ':newest', args.pair)
  redis.call('LTRIM', key .. ':newest', 0, args.most - 1)
  redis.call('ZADD', key .. ':worst', args.gain, args.pair)
  redis.call('ZREMRANGEBYRANK', key .. ':worst', args.most, -1)
  redis.call('EXPIRE', key .. ':newest', args.keep)
  redis.call('EXPIRE', key .. ':worst', args.keep)
end
return 1
