-- Deletes an ended job with all that is known of it. Its files wait in `graves`.
--
-- KEYS[1] job          hash
-- KEYS[2] events       stream
-- KEYS[3] metrics      hash
-- KEYS[4] checkpoints  hash of this job's
-- KEYS[5] users        set of the jobs that go on from its checkpoints
-- KEYS[6] request      string: digest and answer
-- KEYS[7] jobs         sorted set of all
-- KEYS[8] those of its status
-- KEYS[9] those of its search; KEYS[7] again for none
-- KEYS[10] expiries    sorted set
-- KEYS[11] graves      set
-- KEYS[12] checkpoints sorted set of all jobs'
-- KEYS[13] checkpoints those that are results
-- KEYS[14] ended       hash of ended jobs as lists show them
-- ARGV[1] digest       of the call, or ""
-- ARGV[2] job_uuid
-- ARGV[3] revision     that it must have
-- ARGV[4] news         channel
--
-- Returns {"done"}, {"repeated"}, {"reused"}, {"stale"}, or {"used"}.
local answer = answered(KEYS[6], ARGV[1])
if answer then
  return answer
end
if redis.call("HGET", KEYS[1], "revision") ~= ARGV[3] then
  return {"stale"}
end
if redis.call("SCARD", KEYS[5]) > 0 then
  return {"used"}
end
for _, identifier in ipairs(redis.call("HKEYS", KEYS[4])) do
  redis.call("ZREM", KEYS[12], ARGV[2] .. "/" .. identifier)
  redis.call("ZREM", KEYS[13], ARGV[2] .. "/" .. identifier)
end
redis.call("UNLINK", KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
for i = 7, 10 do
  redis.call("ZREM", KEYS[i], ARGV[2])
end
redis.call("HDEL", KEYS[14], ARGV[2])
redis.call("SADD", KEYS[11], ARGV[2])
redis.call("PUBLISH", ARGV[4], ARGV[2] .. " 0 0")
remember(KEYS[6], ARGV[1], "")
return {"done"}
