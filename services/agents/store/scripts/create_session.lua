-- Makes a session that list_session has listed.
--
-- KEYS[1] session   hash: session (bytes), created (microseconds), ttl and expires (milliseconds; 0: never), revision, count (of turns),
--                   number (of the last turn), current (turn that runs or awaits input, or ""), waiting ("1" when that one awaits input),
--                   holder (process that runs it), bank; for a day after it was deleted "doomed" alone
-- KEYS[2] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- ARGV[1] bytes     of the session
-- ARGV[2] created   microseconds
-- ARGV[3] ttl       milliseconds; "0": for ever
-- ARGV[4] member    of expiries
--
-- Returns "created", "live" when it is there already, or "doomed" when it was deleted meanwhile.
local at = now()
local stands = standing(KEYS[1], at)
if stands ~= "absent" then
  return stands
end
redis.call("HSET", KEYS[1], "session", ARGV[1], "created", ARGV[2], "ttl", ARGV[3], "revision", 1, "count", 0, "number", 0,
  "current", "", "waiting", 0, "holder", "", "bank", "")
prolong(KEYS[1], KEYS[2], ARGV[4], at)
return "created"
