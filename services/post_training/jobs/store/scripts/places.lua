-- Tells the places of jobs in their queues.
--
-- KEYS    the queue of each
-- ARGV    the jobs
--
-- Returns each one's place from 0, or false.
local found = {}
for i, uuid in ipairs(ARGV) do
  found[i] = redis.call("ZRANK", KEYS[i], uuid)
end
return found
