-- Reads events of a job.
--
-- KEYS[1] job     hash
-- KEYS[2] events  stream
-- ARGV[1] from    number of the first
-- ARGV[2] limit   most to return
--
-- Returns false when there is no such job, else {status, number of the last event, entries}.
local fields = redis.call("HMGET", KEYS[1], "status", "sequence")
if not fields[1] then
  return false
end
return {fields[1], fields[2], redis.call("XRANGE", KEYS[2], ARGV[1] .. "-0", "+", "COUNT", ARGV[2])}
