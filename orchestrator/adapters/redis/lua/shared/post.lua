-- What is to be sent to receivers outside: the operator's ('budget', 'usage') and the endpoints of users. Scripts write it
-- in the step in which it becomes true; services/deliveries.py sends it.
--
-- Each receiver has a lane, so that one which hangs or is down holds up no other:
-- LANES                    sorted set: receivers, by when to look at them
-- LANE .. receiver         sorted set: ids, by when to try them; while one is being sent: when its sender counts as dead
-- BUSY .. receiver         sorted set: ids that are being sent, by the same time
-- DELIVERY .. receiver:id  hash: id, kind, written, tries, first and last (tries, ms), what the body is made from
-- SENT .. receiver         list: what was sent or given up, the newest first
-- ENDPOINT .. receiver     hash: failing (since), succeeded (last), pause_until, and the members of a user's endpoint
local POST = {}

-- How many are kept for a receiver that does not take them.
POST.MOST = {usage = 1000000, budget = 1000, releases = 1000}
POST.MOST_OF_OTHERS = 10000
-- How many a receiver gets at once, and as long as none of them has arrived.
POST.AT_ONCE, POST.AT_ONCE_FAILING = 4, 1
POST.SHOWN = 100
POST.KEEP_SHOWN = 7 * 86400

function POST.key(receiver, id)
  return DELIVERY .. receiver .. ':' .. id
end

function POST.drop(receiver, id)
  redis.call('ZREM', LANE .. receiver, id)
  redis.call('ZREM', BUSY .. receiver, id)
  redis.call('DEL', POST.key(receiver, id))
end

function POST.drop_all(receiver)
  for _, id in ipairs(redis.call('ZRANGE', LANE .. receiver, 0, -1)) do
    redis.call('DEL', POST.key(receiver, id))
  end
  redis.call('DEL', LANE .. receiver, BUSY .. receiver)
  redis.call('ZREM', LANES, receiver)
end

function POST.room(receiver)
  local most = redis.call('HEXISTS', ENDPOINT .. receiver, 'failing') == 1 and POST.AT_ONCE_FAILING or POST.AT_ONCE
  return most - redis.call('ZCARD', BUSY .. receiver)
end

-- Sets when the receiver's lane is to be looked at again.
function POST.schedule(receiver)
  local first = redis.call('ZRANGE', LANE .. receiver, 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', LANES, receiver)
    return
  end
  local due = math.max(tonumber(first[2]), tonumber(redis.call('HGET', ENDPOINT .. receiver, 'pause_until')) or 0)
  if POST.room(receiver) <= 0 then
    due = math.max(due, tonumber(redis.call('ZRANGE', BUSY .. receiver, 0, 0, 'WITHSCORES')[2]))
  end
  redis.call('ZADD', LANES, due, receiver)
end

-- Adds something to a lane. A repeated call with the same id adds nothing. fields = {name, value, ...}
function POST.add(receiver, id, written, fields)
  local key = POST.key(receiver, id)
  if redis.call('EXISTS', key) == 1 then
    return
  end
  redis.call('HSET', key, 'id', id, 'written', written, 'tries', 0, unpack(fields))
  redis.call('ZADD', LANE .. receiver, NOW_MS, id)
  redis.call('ZADD', LANES, 'LT', NOW_MS, receiver)
  if redis.call('ZCARD', LANE .. receiver) > (POST.MOST[receiver] or POST.MOST_OF_OTHERS) then
    -- The one that is tried last has been tried most often.
    POST.drop(receiver, redis.call('ZRANGE', LANE .. receiver, -1, -1)[1])
  end
end

-- Tells every endpoint of the owner that wants this kind of event.
function POST.tell_owner(owner, kind, id, fields)
  local endpoints = redis.call('HGETALL', ENDPOINTS .. owner)
  for i = 1, #endpoints, 2 do
    if string.find(' ' .. endpoints[i + 1] .. ' ', ' ' .. kind .. ' ', 1, true) then
      POST.add(endpoints[i], id, NOW_MS, {'kind', kind, unpack(fields)})
    end
  end
end

-- Tells the owner of a job what happened to it just now. A replayed job ends more than once; each end has its own id.
-- children: of a parent, {{job_id, status}, ...}.
function POST.tell_of_job(id, kind, children)
  local owner = redis.call('HGET', JOB .. id, 'owner') or ''
  if redis.call('EXISTS', ENDPOINTS .. owner) == 0 then
    return
  end
  local names = {'status', 'style', 'created_at', 'attempts', 'original_key', 'parent', 'result', 'error'}
  local job, fields = redis.call('HMGET', JOB .. id, unpack(names)), {'job', id}
  for i, name in ipairs(names) do
    if job[i] then
      fields[#fields + 1], fields[#fields + 2] = name, job[i]
    end
  end
  if children then
    fields[#fields + 1], fields[#fields + 2] = 'children', cjson.encode(children)
  end
  local seq = string.gsub(redis.call('HGET', JOB .. id, 'last_seq'), '-', '_')
  POST.tell_owner(owner, kind, 'evt_' .. id .. '_' .. seq, fields)
end

-- Writes down what became of a delivery, for its owner to see.
function POST.note(receiver, outcome, delivery)
  delivery.outcome, delivery.ended = outcome, NOW_MS
  redis.call('LPUSH', SENT .. receiver, cjson.encode(delivery))
  redis.call('LTRIM', SENT .. receiver, 0, POST.SHOWN - 1)
  redis.call('EXPIRE', SENT .. receiver, POST.KEEP_SHOWN)
end

-- Disables an endpoint: it gets nothing more, and what waits for it is dropped.
function POST.disable(receiver, reason)
  local owner = redis.call('HGET', ENDPOINT .. receiver, 'owner')
  if owner then
    redis.call('HSET', ENDPOINT .. receiver, 'disabled', cjson.encode({reason = reason, at = NOW_MS / 1000}))
    redis.call('HSET', ENDPOINTS .. cjson.decode(owner), receiver, '')
    POST.drop_all(receiver)
  end
end
