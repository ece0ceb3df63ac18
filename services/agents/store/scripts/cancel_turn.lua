-- Asks for a turn to be cancelled, and tells the process that runs it.
--
-- KEYS[1] session  hash, see create_session
-- KEYS[2] turn     hash, see begin_turn
-- KEYS[3] leases   sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- KEYS[4] request  string: digest and answer (status)
-- ARGV[1] digest   of the call, or ""
-- ARGV[2] revision that the turn must have; "" for any
-- ARGV[3] member   of leases
-- ARGV[4] reason
-- ARGV[5] holders  what the names of the channels begin with on which processes hear about the turns that they run
--
-- Returns {"asked", status}, {"repeated", status}, {"reused"}, {"absent"} or {"stale", revision}.
local at = now()
local answer = answered(KEYS[4], ARGV[1])
if answer then
  return answer
end
local fields = redis.call("HMGET", KEYS[2], "status", "revision", "holder")
if not fields[1] or standing(KEYS[1], at) ~= "live" then
  return {"absent"}
end
if ARGV[2] ~= "" and ARGV[2] ~= fields[2] then
  return {"stale", fields[2]}
end
if fields[1] == "1" or fields[1] == "2" then
  redis.call("HSETNX", KEYS[2], "cancel", ARGV[4])
  redis.call("PUBLISH", ARGV[5] .. fields[3], "cancel " .. ARGV[3] .. " " .. ARGV[4])
  if fields[1] == "2" then
    redis.call("ZADD", KEYS[3], at, ARGV[3])
  end
end
remember(KEYS[4], ARGV[1], fields[1])
return {"asked", fields[1]}
