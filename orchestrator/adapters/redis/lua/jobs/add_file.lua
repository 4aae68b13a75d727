-- args: job, name, key, bytes, seen (the children as they are in the picture: {id = status}; {} of other jobs). Records a
-- picture that was made of the job's pictures. Returns 'added', or 'changed' when the job or its children are others now.
even_when_full()
local id = args.job
local job = redis.call('HMGET', JOB .. id, 'status', 'files', 'owner')
if not job[1] then
  return 'changed'
end
for _, child in ipairs(TREE.family(id)) do
  if TREE.state(id, child) ~= args.seen[child] then
    return 'changed'
  end
end
local files = job[2] and cjson.decode(job[2]) or {}
local before = files[args.name]
if before and before.key == args.key then
  return 'added'
end
files[args.name] = {key = args.key, bytes = args.bytes}
redis.call('HSET', JOB .. id, 'files', cjson.encode(files))
if redis.call('HEXISTS', STORED, id) == 1 then
  QUOTA.store(job[3] or '', id, args.bytes - (before and before.bytes or 0), before and 0 or 1)
end
return 'added'
