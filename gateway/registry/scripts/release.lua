-- Gives a claim up.
--
-- KEYS[1] claims      hash: field -> "token expiry"
-- KEYS[2] changed     channel that tells the control loop
-- KEYS[3] generation  counter of changes
-- ARGV[1] field       "kind/identifier"
-- ARGV[2] token       of the claim
--
-- Returns 1, or 0 when the claim is not ours any more.
local claim = redis.call("HGET", KEYS[1], ARGV[1])
if not claim or string.match(claim, "^(%S+) ") ~= ARGV[2] then
  return 0
end
redis.call("HDEL", KEYS[1], ARGV[1])
redis.call("INCR", KEYS[3])
redis.call("PUBLISH", KEYS[2], ARGV[1])
return 1
