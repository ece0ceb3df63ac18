-- Dooms a session: nobody sees it any more. What it holds is removed by purge_session.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] leases    sorted set, see begin_turn
-- KEYS[3] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- KEYS[4] request   string: digest
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] digest    of the call, or ""
-- ARGV[3] revision  that it must have; "" for any
-- ARGV[4] member    "agent_id/session_id"
-- ARGV[5] holders   what the names of the channels begin with on which processes hear about the turns that they run
-- ARGV[6] news      what the names of the channels begin with on which those who watch a turn hear of it
-- ARGV[7] "1": also when there is none, so that none can come any more
--
-- Returns {"doomed"}, {"absent"}, {"stale", revision}, {"repeated", ""} or {"reused"}.
local answer = answered(KEYS[4], ARGV[2])
if answer then
  return answer
end
local at = now()
local fields = redis.call("HMGET", KEYS[1], "doomed", "revision", "current", "holder")
if fields[1] == ARGV[1] then
  return {"doomed"}
end
local stands = standing(KEYS[1], at)
if stands ~= "live" and not (stands == "absent" and ARGV[7] == "1") then
  return {"absent"}
end
if ARGV[3] ~= "" and ARGV[3] ~= fields[2] then
  return {"stale", fields[2]}
end
redis.call("HSET", KEYS[1], "doomed", ARGV[1])
redis.call("ZADD", KEYS[3], 0, ARGV[4])
if fields[3] and fields[3] ~= "" then
  redis.call("ZREM", KEYS[2], ARGV[4] .. "/" .. fields[3])
  redis.call("PUBLISH", ARGV[5] .. fields[4], "gone " .. ARGV[4] .. "/" .. fields[3])
  redis.call("SPUBLISH", ARGV[6] .. fields[3], "gone")
end
remember(KEYS[4], ARGV[2], "")
return {"doomed"}
