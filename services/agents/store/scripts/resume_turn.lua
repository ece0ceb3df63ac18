-- Goes on with a turn that awaits input: what the input brings, and the lease, at once.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] turn      hash, see begin_turn
-- KEYS[3] events    stream, see begin_turn
-- KEYS[4] leases    sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- KEYS[5] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- KEYS[6] request   string: digest and answer (number of the last event before)
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] digest    of the call, or ""
-- ARGV[3] revision  that the turn must have
-- ARGV[4] session   "agent_id/session_id"
-- ARGV[5] turn_id
-- ARGV[6] holder    this process
-- ARGV[7] lease     milliseconds
-- ARGV[8] limit     of events that are kept
-- ARGV[9] news      channel on which those who watch the turn hear of it
-- ARGV[10] "1" when `state` is new
-- ARGV[11] state    bytes
-- ARGV[12...] steps, see put_steps; then events, see add_events
--
-- Returns {"resumed", token, revision, sequence, started, time, reason to cancel or false}, {"repeated", sequence before}, {"reused"},
-- {"absent"}, {"not_awaiting"} or {"stale", revision}.
local at = now()
local fields = redis.call("HMGET", KEYS[2], "status", "revision", "sequence", "started", "cancel", "operation", "token")
if fields[6] == ARGV[1] then
  return {"resumed", fields[7], fields[2], fields[3], fields[4], at, fields[5]}
end
local answer = answered(KEYS[6], ARGV[2])
if answer then
  return answer
end
if not fields[1] or standing(KEYS[1], at) ~= "live" then
  return {"absent"}
end
if fields[1] ~= "2" then
  return {"not_awaiting"}
end
if fields[2] ~= ARGV[3] then
  return {"stale", fields[2]}
end
local place = put_steps(KEYS[2], 12)
local sequence = add_events(KEYS[3], fields[3], at, ARGV[8], place)
local revision = redis.call("HINCRBY", KEYS[2], "revision", 1)
local token = redis.call("HINCRBY", KEYS[2], "token", 1)
if ARGV[10] == "1" then
  redis.call("HSET", KEYS[2], "state", ARGV[11])
end
redis.call("HSET", KEYS[2], "status", 1, "sequence", sequence, "holder", ARGV[6], "lease", at + ARGV[7], "operation", ARGV[1])
redis.call("HSET", KEYS[1], "waiting", 0, "holder", ARGV[6])
redis.call("ZADD", KEYS[4], at + ARGV[7], ARGV[4] .. "/" .. ARGV[5])
redis.call("SPUBLISH", ARGV[9], sequence)
prolong(KEYS[1], KEYS[5], ARGV[4], at)
remember(KEYS[6], ARGV[2], fields[3])
return {"resumed", token, revision, sequence, fields[4], at, fields[5]}
