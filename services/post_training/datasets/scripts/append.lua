-- Adds a revision.
--
-- KEYS[1] dataset    hash
-- KEYS[2] revisions  hash
-- KEYS[3] request    string: digest and answer
-- ARGV[1] folder     of the data set that is meant
-- ARGV[2] revision   that it must have
-- ARGV[3] record     of the new revision
-- ARGV[4] digest     of the call
-- ARGV[5] answer
-- ARGV[6] lifetime   of the answer in milliseconds
--
-- Returns {"appended"}, {"repeated", answer}, {"reused"}, {"absent"} or {"stale", revision}.
local answer = answered(KEYS[3], ARGV[4])
if answer then
  return answer
end
local there = redis.call("HMGET", KEYS[1], "folder", "revision")
if there[1] ~= ARGV[1] then
  return {"absent"}
end
if there[2] ~= ARGV[2] then
  return {"stale", there[2]}
end
local revision = there[2] + 1
redis.call("HSET", KEYS[1], "revision", revision, "current", ARGV[3])
redis.call("HSET", KEYS[2], revision, ARGV[3])
remember(KEYS[3], ARGV[4], ARGV[5], ARGV[6])
return {"appended"}
