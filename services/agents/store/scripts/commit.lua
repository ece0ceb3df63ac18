-- Changes a turn: its steps, its events, what else changes of it, and where it stands. What this costs does not depend on how many turns the
-- session has.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] turns     sorted set of turn_id by the turn's number in its session
-- KEYS[3] turn      hash, see begin_turn
-- KEYS[4] spec      hash, see begin_turn
-- KEYS[5] events    stream, see begin_turn
-- KEYS[6] leases    sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- KEYS[7] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] token     of the lease
-- ARGV[3] revision  that the holder knows of
-- ARGV[4] sequence  number of the last event that the holder knows of
-- ARGV[5] session   "agent_id/session_id"
-- ARGV[6] turn_id
-- ARGV[7] lease     milliseconds
-- ARGV[8] limit     of events that are kept
-- ARGV[9] kept      milliseconds that events are kept after the turn's end
-- ARGV[10] news     channel on which those who watch the turn hear of it
-- ARGV[11] status   1: it goes on; 2: it awaits input; more: it has ended
-- ARGV[12] "1" when `state` is new
-- ARGV[13] state    bytes
-- ARGV[14...] steps, see put_steps; then events, see add_events
--
-- Returns {"done", revision, sequence, time, reason to cancel or false}, or {"lost"}.
local at = now()
local fields = redis.call("HMGET", KEYS[3], "status", "token", "revision", "sequence", "cancel", "operation", "forget")
if fields[6] == ARGV[1] then
  return {"done", fields[3], fields[4], at, fields[5]}
end
local expected = fields[1] == "1" and fields[2] == ARGV[2] and fields[3] == ARGV[3] and fields[4] == ARGV[4]
if not expected or redis.call("HEXISTS", KEYS[1], "doomed") == 1 then
  return {"lost"}
end
local place = put_steps(KEYS[3], 14)
local sequence = add_events(KEYS[5], fields[4], at, ARGV[8], place)
local revision = redis.call("HINCRBY", KEYS[3], "revision", 1)
if ARGV[12] == "1" then
  redis.call("HSET", KEYS[3], "state", ARGV[13])
end
redis.call("SPUBLISH", ARGV[10], sequence)
local member = ARGV[5] .. "/" .. ARGV[6]
if ARGV[11] == "1" then
  redis.call("HSET", KEYS[3], "sequence", sequence, "operation", ARGV[1], "lease", at + ARGV[7])
  redis.call("ZADD", KEYS[6], at + ARGV[7], member)
  return {"done", revision, sequence, at, fields[5]}
end
redis.call("HSET", KEYS[3], "sequence", sequence, "operation", ARGV[1], "lease", 0, "status", ARGV[11])
if ARGV[11] == "2" then
  redis.call("HSET", KEYS[1], "waiting", 1)
  -- Somebody wanted it cancelled just before: it must not wait for a client then.
  if fields[5] then
    redis.call("ZADD", KEYS[6], at, member)
  else
    redis.call("ZREM", KEYS[6], member)
  end
else
  redis.call("HSET", KEYS[3], "ended", at)
  redis.call("HSET", KEYS[1], "current", "", "waiting", 0, "holder", "")
  redis.call("HINCRBY", KEYS[1], "revision", 1)
  redis.call("ZREM", KEYS[6], member)
  redis.call("UNLINK", KEYS[4])
  redis.call("PEXPIRE", KEYS[5], ARGV[9])
  if fields[7] ~= "0" then
    redis.call("ZREM", KEYS[2], ARGV[6])
    redis.call("HINCRBY", KEYS[1], "count", -1)
    redis.call("PEXPIRE", KEYS[3], fields[7])
    redis.call("PEXPIRE", KEYS[5], math.min(fields[7], ARGV[9]))
  end
end
prolong(KEYS[1], KEYS[7], ARGV[5], at)
return {"done", revision, sequence, at, fields[5]}
