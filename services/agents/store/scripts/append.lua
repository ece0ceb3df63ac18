-- Adds events to a turn.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] turn      hash, see begin_turn
-- KEYS[3] events    stream, see begin_turn
-- KEYS[4] leases    sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] token     of the lease
-- ARGV[3] sequence  number of the last event that the holder knows of
-- ARGV[4] member    of leases
-- ARGV[5] lease     milliseconds
-- ARGV[6] limit     of events that are kept
-- ARGV[7] news      channel on which those who watch the turn hear of it
-- ARGV[8...] events, see add_events
--
-- Returns {"done", sequence, time, reason to cancel or false}, or {"lost"}.
local at = now()
local fields = redis.call("HMGET", KEYS[2], "status", "token", "sequence", "cancel", "operation")
if fields[5] == ARGV[1] then
  return {"done", fields[3], at, fields[4]}
end
if fields[1] ~= "1" or fields[2] ~= ARGV[2] or fields[3] ~= ARGV[3] or redis.call("HEXISTS", KEYS[1], "doomed") == 1 then
  return {"lost"}
end
local sequence = add_events(KEYS[3], fields[3], at, ARGV[6], 8)
redis.call("HSET", KEYS[2], "sequence", sequence, "lease", at + ARGV[5], "operation", ARGV[1])
redis.call("ZADD", KEYS[4], at + ARGV[5], ARGV[4])
redis.call("SPUBLISH", ARGV[7], sequence)
return {"done", sequence, at, fields[4]}
