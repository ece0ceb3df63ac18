-- Takes the lease of a turn that runs without a holder, or that awaits input and is to be cancelled.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] turn      hash, see begin_turn
-- KEYS[3] leases    sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] member    of leases
-- ARGV[3] holder    this process
-- ARGV[4] lease     milliseconds
--
-- Returns {"taken", token, revision, sequence, started, time, reason to cancel or false}, or {"not"}.
local at = now()
local fields = redis.call("HMGET", KEYS[2], "status", "token", "revision", "sequence", "started", "lease", "cancel", "operation")
if fields[8] == ARGV[1] then
  return {"taken", fields[2], fields[3], fields[4], fields[5], at, fields[7]}
end
local running = fields[1] == "1"
local waiting = fields[1] == "2" and fields[7]
if standing(KEYS[1], at) ~= "live" or not (running or waiting) then
  redis.call("ZREM", KEYS[3], ARGV[2])
  return {"not"}
end
if running and tonumber(fields[6]) > at then
  redis.call("ZADD", KEYS[3], fields[6], ARGV[2])
  return {"not"}
end
if waiting then
  redis.call("HSET", KEYS[1], "waiting", 0)
  redis.call("HSET", KEYS[2], "status", 1)
  fields[3] = redis.call("HINCRBY", KEYS[2], "revision", 1)
end
local token = redis.call("HINCRBY", KEYS[2], "token", 1)
redis.call("HSET", KEYS[1], "holder", ARGV[3])
redis.call("HSET", KEYS[2], "holder", ARGV[3], "lease", at + ARGV[4], "operation", ARGV[1])
redis.call("ZADD", KEYS[3], at + ARGV[4], ARGV[2])
return {"taken", token, fields[3], fields[4], fields[5], at, fields[7]}
