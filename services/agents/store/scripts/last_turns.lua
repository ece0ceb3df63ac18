-- Lists the identifiers of a session's last turns, the latest first.
--
-- KEYS[1] session  hash, see create_session
-- KEYS[2] turns    sorted set of turn_id by the turn's number in its session
-- ARGV[1] limit    most to return
--
-- Returns false when there is no such session, else turn ids.
if standing(KEYS[1], now()) ~= "live" then
  return false
end
return redis.call("ZREVRANGE", KEYS[2], 0, ARGV[1] - 1)
