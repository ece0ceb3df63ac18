-- Lists the identifiers of a session's turns in the order in which they began.
--
-- KEYS[1] session  hash, see create_session
-- KEYS[2] turns    sorted set of turn_id by the turn's number in its session
-- ARGV[1] after    number of the last turn before
-- ARGV[2] limit    most to return
--
-- Returns false when there is no such session, else turn ids and numbers in turn.
if standing(KEYS[1], now()) ~= "live" then
  return false
end
return redis.call("ZRANGEBYSCORE", KEYS[2], "(" .. ARGV[1], "+inf", "WITHSCORES", "LIMIT", 0, ARGV[2])
