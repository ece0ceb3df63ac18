-- Looks whether a session whose time seems to be over is doomed, and makes that final.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- ARGV[1] member    of expiries
--
-- Returns {"doomed", bank}, or {"live"} when a turn has kept it meanwhile.
local at = now()
local stands = standing(KEYS[1], at)
if stands == "live" then
  local expires = tonumber(redis.call("HGET", KEYS[1], "expires"))
  if expires == 0 then
    redis.call("ZREM", KEYS[2], ARGV[1])
  else
    redis.call("ZADD", KEYS[2], math.max(expires, at + 1000), ARGV[1])
  end
  return {"live"}
end
if stands == "doomed" then
  redis.call("HSETNX", KEYS[1], "doomed", "expired")
end
return {"doomed", redis.call("HGET", KEYS[1], "bank") or ""}
