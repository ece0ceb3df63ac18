-- Reads revisions of a data set.
--
-- KEYS[1] dataset    hash
-- KEYS[2] revisions  hash
-- ARGV[1] folder     of the data set that is meant
-- ARGV[2] first      number of the first
-- ARGV[3] last       number of the last; at most some thousand
--
-- Returns the records, or false when the data set is gone.
if redis.call("HGET", KEYS[1], "folder") ~= ARGV[1] then
  return false
end
local numbers = {}
for number = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  numbers[#numbers + 1] = string.format("%d", number)
end
return #numbers > 0 and redis.call("HMGET", KEYS[2], unpack(numbers)) or {}
