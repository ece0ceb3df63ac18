-- Reads events of a turn.
--
-- KEYS[1] session  hash, see create_session
-- KEYS[2] turn     hash, see begin_turn
-- KEYS[3] events   stream, see begin_turn
-- ARGV[1] from     number of the first
-- ARGV[2] limit    most to return
--
-- Returns false when there is no such turn, else {status, number of the last event, entries}.
if standing(KEYS[1], now()) ~= "live" then
  return false
end
local fields = redis.call("HMGET", KEYS[2], "status", "sequence")
if not fields[1] then
  return false
end
return {fields[1], fields[2], redis.call("XRANGE", KEYS[3], ARGV[1] .. "-0", "+", "COUNT", ARGV[2])}
