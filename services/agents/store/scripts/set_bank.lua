-- Gives a session its memory bank, unless it has one.
--
-- KEYS[1] session  hash, see create_session
-- ARGV[1] bank
--
-- Returns the bank that it has, or false when there is no such session.
if standing(KEYS[1], now()) ~= "live" then
  return false
end
local bank = redis.call("HGET", KEYS[1], "bank")
if bank and bank ~= "" then
  return bank
end
redis.call("HSET", KEYS[1], "bank", ARGV[1])
return ARGV[1]
