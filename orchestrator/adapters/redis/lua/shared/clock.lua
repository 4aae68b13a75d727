-- ARGV[1] is a JSON object: the arguments of the script.
local args = cjson.decode(ARGV[1])

-- All times come from the Redis server, because the clocks of workers may differ. Only tests pass a clock.
local clock = args.clock or redis.call('TIME')
local NOW = clock[1] .. '.' .. string.format('%06d', clock[2])
local NOW_MS = clock[1] * 1000 + math.floor(clock[2] / 1000)
