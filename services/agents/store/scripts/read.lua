-- Reads hashes of a session that can be seen.
--
-- KEYS[1]    session  hash, see create_session
-- KEYS[2...] hashes   to read
-- ARGV[...]  fields   to read of each; none: all, as names and values in turn
--
-- Returns false when there is no such session, else a list with one list for each hash.
if standing(KEYS[1], now()) ~= "live" then
  return false
end
local found = {}
for i = 2, #KEYS do
  if #ARGV == 0 then
    found[i - 1] = redis.call("HGETALL", KEYS[i])
  else
    found[i - 1] = redis.call("HMGET", KEYS[i], unpack(ARGV))
  end
end
return found
