-- Gives the control loop's lease up.
--
-- KEYS[1] lease    string: "holder token"
-- ARGV[1] holder   tells this process from others
--
-- Returns 1, or 0 when it is held by somebody else or nobody.
local lease = redis.call("GET", KEYS[1])
if lease and string.match(lease, "^(%S+) ") == ARGV[1] then
  return redis.call("DEL", KEYS[1])
end
return 0
