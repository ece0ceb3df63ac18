-- Tells how many jobs wait.
--
-- KEYS    for each lane its queue, and those that come into it later (sorted sets)
--
-- Returns their numbers in the order of the lanes.
local found = {}
for i = 1, #KEYS, 2 do
  found[#found + 1] = redis.call("ZCARD", KEYS[i]) + redis.call("ZCARD", KEYS[i + 1])
end
return found
