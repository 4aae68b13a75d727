-- What keys use: jobs that have not ended, GPU time, money and storage. scripts.py puts this text before common.lua, so
-- that the script which ends a job also settles what the job had reserved.
--
-- RESERVED .. owner         hash: job id -> {day, ms, price, style, tier, objects} of each job that has not ended; objects are
--                           the pictures that it will store
-- ACCOUNT .. owner:period   hash: 'used' and 'reserved' milliseconds; period = a day (2026-11-26) and its month (2026-11)
-- ACCOUNT .. service:month  hash: 'used' and 'reserved' micros of all jobs, and what was told of the budget
-- ACCOUNT .. owner:storage  hash: 'bytes' and 'objects' of the owner's entries in STORED
-- USAGE .. day              set: owners with ended jobs; USAGE .. day:owner, hash: style:tier:outcome:what -> a sum
--
-- Everything of a job is counted on the day on which it was submitted, so that each sum follows from its jobs. An entry
-- is settled by whoever deletes it, so a job is settled once.
local QUOTA = {}

-- Seconds that sums are kept: usage for thirteen months, and what limits need a little longer than they need it.
QUOTA.KEEP_DAY, QUOTA.KEEP_MONTH, QUOTA.KEEP_USAGE = 40 * 86400, 70 * 86400, 400 * 86400

function QUOTA.micros(ms, price)
  return math.floor((ms * price + 1800000) / 3600000)
end

function QUOTA.number(key, field)
  return tonumber(redis.call('HGET', key, field)) or 0
end

function QUOTA.add(key, field, amount, seconds)
  redis.call('HINCRBY', key, field, amount)
  redis.call('EXPIRE', key, seconds)
end

-- Takes from a sum what was added to it before; of a sum that has expired meanwhile, nothing.
function QUOTA.take_back(key, field, amount)
  local held = math.min(amount, QUOTA.number(key, field))
  if held > 0 then
    redis.call('HINCRBY', key, field, -held)
  end
end

function QUOTA.periods(owner, day)
  local month = string.sub(day, 1, 7)
  return ACCOUNT .. owner .. ':' .. day, ACCOUNT .. owner .. ':' .. month, ACCOUNT .. 'service:' .. month
end

function QUOTA.send(id, to, event)
  POST.add(to, id, NOW_MS, {'kind', to, 'event', cjson.encode(event)})
end

-- Tells the budget's owner something once in a month, or again after the budget was changed.
function QUOTA.tell(budget, service, month, what, share)
  local named = budget.micros .. ':' .. what
  if redis.call('HSETNX', service, 'told:' .. named, '1') == 1 then
    redis.call('EXPIRE', service, QUOTA.KEEP_MONTH)
    local micros = QUOTA.number(service, 'used') + QUOTA.number(service, 'reserved')
    QUOTA.send('budget_' .. month .. '_' .. named, 'budget',
      {month = month, share = share, micros = micros, budget = budget.micros})
  end
end

-- Tells of each share of the budget that is used or reserved now.
function QUOTA.alert(pricing, service, month)
  if type(pricing.budget) == 'table' then
    local micros = QUOTA.number(service, 'used') + QUOTA.number(service, 'reserved')
    for _, share in ipairs(pricing.budget.alerts) do
      if micros >= share * pricing.budget.micros then
        QUOTA.tell(pricing.budget, service, month, tostring(share), share)
      end
    end
  end
end

function QUOTA.waiting(owner)
  local count = 0
  for _, id in ipairs(redis.call('HKEYS', RESERVED .. owner)) do
    if redis.call('ZSCORE', WAITING, id) then
      count = count + 1
    end
  end
  return count
end

-- The pictures that an owner's unfinished jobs will store. They are added up anew each time, since scripts of older versions
-- know nothing of them.
function QUOTA.coming(owner)
  local count = 0
  for _, held in ipairs(redis.call('HVALS', RESERVED .. owner)) do
    count = count + (cjson.decode(held).objects or 0)
  end
  return count
end

-- The first limit that refuses the jobs that are asked for together, and what of it is taken; nil when none does.
function QUOTA.refusal(owner, asked, pricing)
  local plan = asked.plan
  local day, month, service = QUOTA.periods(owner, asked.day)
  local storage = ACCOUNT .. owner .. ':storage'
  local function over(limit, taken, more)
    return type(limit) == 'number' and taken + more > limit
  end
  local function time(account)
    return QUOTA.number(account, 'used') + QUOTA.number(account, 'reserved')
  end
  local unfinished = redis.call('HLEN', RESERVED .. owner)
  if over(plan.concurrent_jobs, unfinished, #asked.jobs) then
    return 'concurrent_jobs', unfinished
  elseif over(plan.waiting_jobs, unfinished, #asked.jobs) and over(plan.waiting_jobs, QUOTA.waiting(owner), #asked.jobs) then
    return 'waiting_jobs', plan.waiting_jobs
  elseif over(plan.gpu_ms_per_day, time(day), asked.ms) then
    return 'gpu_seconds_per_day', time(day)
  elseif over(plan.gpu_ms_per_month, time(month), asked.ms) then
    return 'gpu_seconds_per_month', time(month)
  elseif over(plan.stored_bytes, QUOTA.number(storage, 'bytes'), asked.bytes) then
    return 'stored_bytes', QUOTA.number(storage, 'bytes')
  end
  if type(plan.stored_objects) == 'number' then
    local taken, more = QUOTA.number(storage, 'objects') + QUOTA.coming(owner), asked.objects
    for _, job in ipairs(asked.jobs) do
      more = more + (job.objects or 0)
    end
    if over(plan.stored_objects, taken, more) then
      return 'stored_objects', taken
    end
  end
  if type(pricing.budget) == 'table'
      and over(pricing.budget.micros, time(service), QUOTA.micros(asked.ms, pricing.price)) then
    QUOTA.tell(pricing.budget, service, string.sub(asked.day, 1, 7), 'exhausted')
    return 'monthly_budget', time(service)
  end
end

-- Adds to what is stored for a job. Its owner's sums change by as much.
function QUOTA.store(owner, id, bytes, objects)
  local text = redis.call('HGET', STORED, id)
  local held = text and cjson.decode(text) or {owner = owner, bytes = 0, objects = 0}
  held.bytes, held.objects = held.bytes + bytes, held.objects + objects
  redis.call('HSET', STORED, id, cjson.encode(held))
  redis.call('HINCRBY', ACCOUNT .. owner .. ':storage', 'bytes', bytes)
  redis.call('HINCRBY', ACCOUNT .. owner .. ':storage', 'objects', objects)
end

-- Nothing is stored for the job any more.
function QUOTA.unstore(id)
  local text = redis.call('HGET', STORED, id)
  if text then
    local held = cjson.decode(text)
    redis.call('HDEL', STORED, id)
    QUOTA.take_back(ACCOUNT .. held.owner .. ':storage', 'bytes', held.bytes)
    QUOTA.take_back(ACCOUNT .. held.owner .. ':storage', 'objects', held.objects)
  end
end

function QUOTA.enter(owner, id, held)
  local day, month, service = QUOTA.periods(owner, held.day)
  redis.call('HSET', RESERVED .. owner, id, cjson.encode(held))
  QUOTA.add(day, 'reserved', held.ms, QUOTA.KEEP_DAY)
  QUOTA.add(month, 'reserved', held.ms, QUOTA.KEEP_MONTH)
  QUOTA.add(service, 'reserved', QUOTA.micros(held.ms, held.price), QUOTA.KEEP_MONTH)
  return service
end

-- 'id' is that of the only job, or of the parent of them all, whose photo it is.
function QUOTA.reserve(owner, id, asked, pricing)
  local service
  for _, job in ipairs(asked.jobs) do
    local held = {day = asked.day, ms = job.ms, price = pricing.price, style = job.style, tier = job.tier,
      objects = job.objects}
    service = QUOTA.enter(owner, job.job, held)
    redis.call('HSET', JOB .. job.job, 'quota', cjson.encode(held))
  end
  QUOTA.store(owner, id, asked.bytes, asked.objects)
  QUOTA.alert(pricing, service, string.sub(asked.day, 1, 7))
end

-- Turns what a job has reserved into what it used: measured = {ms, tier, bytes, objects}, none unless it completed.
function QUOTA.settle(owner, id, outcome, measured, pricing)
  local text = redis.call('HGET', RESERVED .. owner, id)
  if not text then
    return
  end
  redis.call('HDEL', RESERVED .. owner, id)
  local held = cjson.decode(text)
  local day, month, service = QUOTA.periods(owner, held.day)
  local ms, tier = measured.ms or 0, measured.tier or held.tier
  local micros = QUOTA.micros(ms, held.price)
  QUOTA.take_back(day, 'reserved', held.ms)
  QUOTA.take_back(month, 'reserved', held.ms)
  QUOTA.take_back(service, 'reserved', QUOTA.micros(held.ms, held.price))
  QUOTA.add(day, 'used', ms, QUOTA.KEEP_DAY)
  QUOTA.add(month, 'used', ms, QUOTA.KEEP_MONTH)
  QUOTA.add(service, 'used', micros, QUOTA.KEEP_MONTH)
  if (measured.objects or 0) > 0 then
    QUOTA.store(owner, id, measured.bytes or 0, measured.objects)
  end
  local of = USAGE .. held.day .. ':' .. owner
  local kind = held.style .. ':' .. tier .. ':' .. outcome
  redis.call('SADD', USAGE .. held.day, owner)
  redis.call('EXPIRE', USAGE .. held.day, QUOTA.KEEP_USAGE)
  QUOTA.add(of, kind .. ':jobs', 1, QUOTA.KEEP_USAGE)
  QUOTA.add(of, kind .. ':ms', ms, QUOTA.KEEP_USAGE)
  QUOTA.add(of, kind .. ':micros', micros, QUOTA.KEEP_USAGE)
  if pricing.billed then
    -- A job that was replayed ends more than once.
    local ends = redis.call('EXISTS', JOB .. id) == 1 and redis.call('HINCRBY', JOB .. id, 'ends', 1) or 1
    QUOTA.send('usage_' .. id .. (ends > 1 and '_' .. ends or ''), 'usage', {job = id, owner = owner, day = held.day, style = held.style, tier = tier,
      outcome = outcome, ms = ms, micros = micros})
  end
  QUOTA.alert(pricing, service, string.sub(held.day, 1, 7))
end

-- Reserves anew for a job that had ended and waits again, whatever the limits say: an administrator wants it.
function QUOTA.reserve_again(id)
  local job = redis.call('HMGET', JOB .. id, 'owner', 'quota')
  if job[2] then
    QUOTA.enter(job[1] or '', id, cjson.decode(job[2]))
  end
end

-- Settles jobs of the owner that have ended without it: a script of an older version has ended them.
function QUOTA.settle_old(owner, pricing)
  for _, id in ipairs(redis.call('HKEYS', RESERVED .. owner)) do
    local status = redis.call('HGET', JOB .. id, 'status')
    if not status or TERMINAL[status] then
      QUOTA.settle(owner, id, status or FAILED, {}, pricing)
    end
  end
end

-- Reserves what jobs ask for together: all of it, or nothing when a limit refuses it. Returns that limit, and what of it is
-- taken.
function QUOTA.admit(owner, id, asked, pricing)
  local limit, taken = QUOTA.refusal(owner, asked, pricing)
  if limit then
    QUOTA.settle_old(owner, pricing)
    limit, taken = QUOTA.refusal(owner, asked, pricing)
  end
  if not limit then
    QUOTA.reserve(owner, id, asked, pricing)
  end
  return limit, taken
end
