-- Deletes a data set.
--
-- KEYS[1] dataset    hash
-- KEYS[2] revisions  hash
-- KEYS[3] users      set of jobs that use it
-- KEYS[4] datasets   sorted set
-- KEYS[5] of_format  sorted set: those of the same format
-- KEYS[6] folders    hash
-- KEYS[7] request    string: digest and answer
-- ARGV[1] dataset_id
-- ARGV[2] folder     of the data set that is meant
-- ARGV[3] revision   that it must have; "" for any
-- ARGV[4] digest     of the call
-- ARGV[5] lifetime   of the answer in milliseconds
--
-- Returns {"deleted"}, {"repeated", ""}, {"reused"}, {"absent"}, {"stale", revision} or {"used", job_uuid}.
local answer = answered(KEYS[7], ARGV[4])
if answer then
  return answer
end
local there = redis.call("HMGET", KEYS[1], "folder", "revision")
if there[1] ~= ARGV[2] then
  return {"absent"}
end
if ARGV[3] ~= "" and there[2] ~= ARGV[3] then
  return {"stale", there[2]}
end
local user = redis.call("SRANDMEMBER", KEYS[3])
if user then
  return {"used", user}
end
redis.call("DEL", KEYS[1])
redis.call("UNLINK", KEYS[2])
redis.call("ZREM", KEYS[4], ARGV[1])
redis.call("ZREM", KEYS[5], ARGV[1])
redis.call("HDEL", KEYS[6], ARGV[2])
remember(KEYS[7], ARGV[4], "", ARGV[5])
return {"deleted"}
