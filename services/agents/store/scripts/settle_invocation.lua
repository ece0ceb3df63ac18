-- Keeps what came of a call of a tool.
--
-- KEYS[1] invocation  hash, see claim_invocation
-- ARGV[1] token    of the claim
-- ARGV[2] kind     "response", "error" or "too large"
-- ARGV[3] content  bytes
-- ARGV[4] lifetime milliseconds
--
-- Returns {"settled"} or {"lost"}.
local fields = redis.call("HMGET", KEYS[1], "token", "kind")
if fields[1] ~= ARGV[1] then
  return {"lost"}
end
if not fields[2] then
  redis.call("HSET", KEYS[1], "kind", ARGV[2], "content", ARGV[3])
  redis.call("HDEL", KEYS[1], "lease")
  redis.call("PEXPIRE", KEYS[1], ARGV[4])
end
return {"settled"}
