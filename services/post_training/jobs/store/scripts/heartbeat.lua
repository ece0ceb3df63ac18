-- Renews a lease.
--
-- KEYS[1] job     hash
-- KEYS[2] leases  sorted set by the end of the lease
-- ARGV[1] job_uuid
-- ARGV[2] token   of the lease
-- ARGV[3] lease   milliseconds
--
-- Returns {"held", status}, or {"lost"}.
local fields = redis.call("HMGET", KEYS[1], "token", "status")
if fields[1] ~= ARGV[2] or redis.call("ZSCORE", KEYS[2], ARGV[1]) == false then
  return {"lost"}
end
redis.call("ZADD", KEYS[2], now() + tonumber(ARGV[3]), ARGV[1])
return {"held", fields[2]}
