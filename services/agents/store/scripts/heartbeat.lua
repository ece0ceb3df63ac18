-- Renews a lease.
--
-- KEYS[1] session  hash, see create_session
-- KEYS[2] turn     hash, see begin_turn
-- KEYS[3] leases   sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- ARGV[1] token    of the lease
-- ARGV[2] member   of leases
-- ARGV[3] lease    milliseconds; "0" gives it up
--
-- Returns {"held", time, reason to cancel or false}, or {"lost"}.
local at = now()
local fields = redis.call("HMGET", KEYS[2], "status", "token", "cancel")
if fields[1] ~= "1" or fields[2] ~= ARGV[1] or redis.call("HEXISTS", KEYS[1], "doomed") == 1 then
  return {"lost"}
end
redis.call("HSET", KEYS[2], "lease", at + ARGV[3])
redis.call("ZADD", KEYS[3], at + ARGV[3], ARGV[2])
return {"held", at, fields[3]}
