-- How well the service does, day by day: for administrators. scripts.py puts this text before common.lua, so that the script
-- which ends a job also counts it here.
--
-- LEVELS .. day   hash: 'ended:' .. outcome -> jobs that ended then; 'failed:' .. code .. ':' .. style -> those of them;
--                 'wait:' .. edge and 'total:' .. edge -> completed jobs that waited, or took, at most that many seconds and more
--                 than the edge before. day = whole days since 1970, in UTC
-- LATELY_FAILED   list: ids of the jobs that failed last, the newest first
--
-- A parent is not counted: its children are.
local LEVEL = {}

LEVEL.KEEP, LEVEL.MOST = 400 * 86400, 200

-- The first of EDGES that is at least this many seconds.
function LEVEL.edge(seconds)
  for _, edge in ipairs(EDGES) do
    if seconds <= tonumber(edge) then
      return edge
    end
  end
  return 'inf'
end

function LEVEL.count(id, outcome, code)
  local day = LEVELS .. math.floor(tonumber(NOW) / 86400)
  redis.call('HINCRBY', day, 'ended:' .. outcome, 1)
  if outcome == FAILED then
    local job = redis.call('HMGET', JOB .. id, 'style', 'counted_as')
    redis.call('HINCRBY', day, 'failed:' .. (code or '') .. ':' .. (job[2] or job[1] or ''), 1)
    redis.call('LPUSH', LATELY_FAILED, id)
    redis.call('LTRIM', LATELY_FAILED, 0, LEVEL.MOST - 1)
  elseif outcome == COMPLETED then
    -- 'queued_at': of a job that was given up and replayed.
    local job = redis.call('HMGET', JOB .. id, 'queued_at', 'created_at', 'begun_at')
    local made, begun = tonumber(job[1] or job[2]), tonumber(job[3])
    if made and begun then
      redis.call('HINCRBY', day, 'wait:' .. LEVEL.edge(begun - made), 1)
      redis.call('HINCRBY', day, 'total:' .. LEVEL.edge(tonumber(NOW) - made), 1)
    end
  end
  redis.call('EXPIRE', day, LEVEL.KEEP)
end
