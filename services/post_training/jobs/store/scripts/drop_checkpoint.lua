-- Forgets a checkpoint.
--
-- KEYS[1] checkpoints  hash of this job's
-- KEYS[2] users        set of "identifier|job_uuid" of the jobs that go on from its checkpoints
-- KEYS[3] checkpoints  sorted set of all jobs'
-- KEYS[4] checkpoints  those that are results
-- KEYS[5] request      string: digest and answer
-- ARGV[1] digest       of the call, or ""
-- ARGV[2] job_uuid
-- ARGV[3] identifier
--
-- Returns {"done"}, {"repeated"}, {"reused"}, or {"used", job_uuid}.
local answer = answered(KEYS[5], ARGV[1])
if answer then
  return answer
end
local start = ARGV[3] .. "|"
for _, user in ipairs(redis.call("SMEMBERS", KEYS[2])) do
  if string.sub(user, 1, #start) == start then
    return {"used", string.sub(user, #start + 1)}
  end
end
redis.call("HDEL", KEYS[1], ARGV[3])
redis.call("ZREM", KEYS[3], ARGV[2] .. "/" .. ARGV[3])
redis.call("ZREM", KEYS[4], ARGV[2] .. "/" .. ARGV[3])
remember(KEYS[5], ARGV[1], "")
return {"done"}
