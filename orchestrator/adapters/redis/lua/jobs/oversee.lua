-- args: limit (of jobs that are shown, running ones of each worker), look (how many waiting jobs are counted by kind),
-- silence_ms (a worker that has been silent for longer is not alive).
-- Returns the workers as {name, last heard of (ms), alive, first heard of (ms) or '', records of the jobs that it runs}, those of dead ones that
-- still hold jobs too; the records of the jobs that wait first; and how many wait as {priority, tier, jobs}. It changes nothing.
ensure_queue()
local heard, alive, names = {}, {}, {}
local found = redis.call('ZRANGE', WORKERS, 0, -1, 'WITHSCORES')
for at = 1, #found, 2 do
  heard[found[at]] = found[at + 1]
  alive[found[at]] = tonumber(found[at + 1]) >= NOW_MS - args.silence_ms
  names[#names + 1] = found[at]
end
local runs = {}
for _, worker in ipairs(consumers()) do
  if worker.pending > 0 then
    local records = {}
    for _, pending in ipairs(redis.call('XPENDING', QUEUE, GROUP, '-', '+', args.limit, worker.name)) do
      local entry = redis.call('XRANGE', QUEUE, pending[1], pending[1])[1]
      if entry then
        records[#records + 1] = redis.call('HGETALL', JOB .. entry[2][2])
      end
    end
    runs[worker.name] = records
    if not heard[worker.name] then
      heard[worker.name] = tostring(NOW_MS - worker.idle)
      names[#names + 1] = worker.name
    end
  end
end
local workers = {}
for _, name in ipairs(names) do
  workers[#workers + 1] = {name, heard[name], alive[name] and 1 or 0,
    redis.call('HGET', SINCE, name) or '', runs[name] or {}}
end
local records, counts, kinds = {}, {}, {}
for place, id in ipairs(redis.call('ZRANGE', WAITING, 0, args.look - 1)) do
  if place <= args.limit then
    records[place] = redis.call('HGETALL', JOB .. id)
  end
  local job = redis.call('HMGET', JOB .. id, 'priority', 'tier')
  local kind = (job[1] or '') .. ' ' .. (job[2] or DEFAULT_TIER)
  if not counts[kind] then
    kinds[#kinds + 1] = kind
  end
  counts[kind] = (counts[kind] or 0) + 1
end
local waiting = {}
for _, kind in ipairs(kinds) do
  local priority, tier = string.match(kind, '^(%S*) (.*)$')
  waiting[#waiting + 1] = {priority, tier, counts[kind]}
end
return {workers, records, waiting}
