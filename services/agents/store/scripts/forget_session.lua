-- Leaves nothing of a doomed session without turns but the mark that keeps it from being made again.
--
-- KEYS[1] session   hash, see create_session
-- KEYS[2] turns     sorted set of turn_id by the turn's number in its session
-- KEYS[3] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- ARGV[1] member    of expiries
-- ARGV[2] "1" to leave the mark, for a day
--
-- Returns 1, or 0 when the session is not doomed or has turns.
local mark = redis.call("HGET", KEYS[1], "doomed")
if redis.call("EXISTS", KEYS[1]) == 1 and not mark or redis.call("EXISTS", KEYS[2]) == 1 then
  return 0
end
redis.call("ZREM", KEYS[3], ARGV[1])
redis.call("DEL", KEYS[1])
if mark and ARGV[2] == "1" then
  redis.call("HSET", KEYS[1], "doomed", mark)
  redis.call("PEXPIRE", KEYS[1], DAY)
end
return 1
