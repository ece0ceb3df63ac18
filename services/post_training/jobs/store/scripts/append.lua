-- Adds events to a job that somebody runs.
--
-- KEYS[1] job          hash
-- KEYS[2] events       stream
-- KEYS[3] leases       sorted set by the end of the lease
-- KEYS[4] metrics      hash
-- KEYS[5] checkpoints  hash of this job's
-- KEYS[6] checkpoints  sorted set of all jobs' by the time of making
-- KEYS[7] checkpoints  those that are results
-- ARGV[1] operation    tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] job_uuid
-- ARGV[3] token        of the lease
-- ARGV[4] progress     bytes; "" when it is as before
-- ARGV[5] limit        of events that are kept
-- ARGV[6] names        of metrics that are kept, at most
-- ARGV[7] news         channel
-- ARGV[8] told         last step that the events tell metrics of; "0": none
-- ARGV[9...] events, see add_events; then the number of metrics and each one's name and value; then the number of checkpoints and each
--            one's identifier, time in microseconds, "1" for a result, and bytes
--
-- Returns {"done"}, or {"lost"}.
local fields = redis.call("HMGET", KEYS[1], "token", "appended", "status")
if fields[2] == ARGV[1] then
  return {"done"}
end
if fields[1] ~= ARGV[3] or redis.call("ZSCORE", KEYS[3], ARGV[2]) == false then
  return {"lost"}
end
local _, place = add_events(KEYS[1], KEYS[2], ARGV[2], fields[3], ARGV[5], ARGV[7], 9)
local count = tonumber(ARGV[place])
for i = place + 1, place + 2 * count, 2 do
  if redis.call("HEXISTS", KEYS[4], ARGV[i]) == 1 or redis.call("HLEN", KEYS[4]) < tonumber(ARGV[6]) then
    redis.call("HSET", KEYS[4], ARGV[i], ARGV[i + 1])
  end
end
place = place + 2 * count + 1
count = tonumber(ARGV[place])
for i = place + 1, place + 4 * count, 4 do
  local member = ARGV[2] .. "/" .. ARGV[i]
  redis.call("HSET", KEYS[5], ARGV[i], ARGV[i + 3])
  redis.call("ZADD", KEYS[6], ARGV[i + 1], member)
  if ARGV[i + 2] == "1" then
    redis.call("ZADD", KEYS[7], ARGV[i + 1], member)
  end
end
redis.call("HSET", KEYS[1], "appended", ARGV[1])
if ARGV[8] ~= "0" then
  redis.call("HSET", KEYS[1], "told", ARGV[8])
end
if ARGV[4] ~= "" then
  redis.call("HSET", KEYS[1], "progress", ARGV[4])
end
return {"done"}
