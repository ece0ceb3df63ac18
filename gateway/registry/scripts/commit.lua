-- Makes a claimed registration real.
--
-- KEYS[1] states      hash: field -> "revision fingerprint"
-- KEYS[2] resources   hash: field -> registered resource, protobuf bytes
-- KEYS[3] claims      hash: field -> "token expiry"
-- KEYS[4] request     string: answer for repeated calls with the same request id
-- KEYS[5] changed     channel that tells the control loop
-- KEYS[6] generation  counter of changes
-- ARGV[1] field       "kind/identifier"
-- ARGV[2] token       of the claim
-- ARGV[3] fingerprint of the registration
-- ARGV[4] revision    that the claim gave
-- ARGV[5] bytes       of the resource
-- ARGV[6] lifetime of the answer in milliseconds; "0" when the caller gave no request id
--
-- Returns 1, also when it is sent again, or 0 when the claim has expired and somebody else took it.
if redis.call("HGET", KEYS[1], ARGV[1]) == ARGV[4] .. " " .. ARGV[3] then
  return 1
end
local claim = redis.call("HGET", KEYS[3], ARGV[1])
if not claim or string.match(claim, "^(%S+) ") ~= ARGV[2] then
  return 0
end
redis.call("HDEL", KEYS[3], ARGV[1])
redis.call("HSET", KEYS[1], ARGV[1], ARGV[4] .. " " .. ARGV[3])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[5])
if ARGV[6] ~= "0" then
  redis.call("SET", KEYS[4], ARGV[3] .. ARGV[5], "PX", ARGV[6])
end
redis.call("INCR", KEYS[6])
redis.call("PUBLISH", KEYS[5], ARGV[1])
return 1
