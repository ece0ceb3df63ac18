-- Renews a claim on a call of a tool, or gives it up.
--
-- KEYS[1] invocation  hash, see claim_invocation
-- ARGV[1] token  of the claim
-- ARGV[2] lease  milliseconds; "0" gives it up
-- ARGV[3] forget "1": the next claim is the first one
--
-- Returns {"held"} or {"lost"}.
local at = now()
if redis.call("HGET", KEYS[1], "token") ~= ARGV[1] then
  return {"lost"}
end
if ARGV[3] == "1" then
  redis.call("DEL", KEYS[1])
else
  redis.call("HSET", KEYS[1], "lease", at + ARGV[2])
end
return {"held"}
