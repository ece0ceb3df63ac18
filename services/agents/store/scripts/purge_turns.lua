-- Removes turns of a doomed session.
--
-- KEYS[1]    session  hash, see create_session
-- KEYS[2]    turns    sorted set of turn_id by the turn's number in its session
-- KEYS[3...] keys     of the turns
-- ARGV[...]  turn_ids
--
-- Returns 1, or 0 when the session is not doomed.
if redis.call("HEXISTS", KEYS[1], "doomed") == 0 then
  return 0
end
redis.call("UNLINK", unpack(KEYS, 3))
redis.call("ZREM", KEYS[2], unpack(ARGV))
return 1
