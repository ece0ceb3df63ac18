-- Takes a registration out.
--
-- KEYS[1] states      hash: field -> "revision fingerprint"
-- KEYS[2] resources   hash: field -> registered resource, protobuf bytes
-- KEYS[3] request     string: marks an earlier call with the same request id
-- KEYS[4] changed     channel that tells the control loop
-- KEYS[5] generation  counter of changes
-- ARGV[1] field       "kind/identifier"
-- ARGV[2] revision    that it must have; "" for any
-- ARGV[3] lifetime of the mark in milliseconds
--
-- Returns {"repeated", field}, {"absent"}, {"stale", revision} or {"removed", bytes}.
local field = redis.call("GET", KEYS[3])
if field then
  return {"repeated", field}
end
local state = redis.call("HGET", KEYS[1], ARGV[1])
if not state then
  return {"absent"}
end
local revision = string.match(state, "^(%d+)")
if ARGV[2] ~= "" and ARGV[2] ~= revision then
  return {"stale", revision}
end
local bytes = redis.call("HGET", KEYS[2], ARGV[1])
redis.call("HDEL", KEYS[1], ARGV[1])
redis.call("HDEL", KEYS[2], ARGV[1])
redis.call("SET", KEYS[3], ARGV[1], "PX", ARGV[3])
redis.call("INCR", KEYS[5])
redis.call("PUBLISH", KEYS[4], ARGV[1])
return {"removed", bytes}
