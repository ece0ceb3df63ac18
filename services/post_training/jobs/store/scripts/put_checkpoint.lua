-- Adds a checkpoint to a job that nobody needs to hold, or puts it in the place of the one of the same identifier.
--
-- KEYS[1] job          hash
-- KEYS[2] events       stream
-- KEYS[3] checkpoints  hash of this job's
-- KEYS[4] checkpoints  sorted set of all jobs' by the time of making
-- KEYS[5] checkpoints  those that are results
-- KEYS[6] request      string: digest and answer (identifier)
-- KEYS[7] ended        hash of ended jobs as lists show them
-- ARGV[1] digest       of the call, or ""
-- ARGV[2] job_uuid
-- ARGV[3] identifier
-- ARGV[4] time         microseconds
-- ARGV[5] bytes
-- ARGV[6] "1": it is a result
-- ARGV[7] limit        of events that are kept
-- ARGV[8] news         channel
-- ARGV[9...] events, see add_events
--
-- Returns {"done"}, {"reused"}, or {"absent"}.
local answer = answered(KEYS[6], ARGV[1])
if answer and answer[1] == "reused" then
  return answer
end
local status = redis.call("HGET", KEYS[1], "status")
if not status then
  return {"absent"}
end
if redis.call("HGET", KEYS[3], ARGV[3]) ~= ARGV[5] then
  redis.call("HSET", KEYS[3], ARGV[3], ARGV[5])
  redis.call("ZADD", KEYS[4], ARGV[4], ARGV[2] .. "/" .. ARGV[3])
  if ARGV[6] == "1" then
    redis.call("ZADD", KEYS[5], ARGV[4], ARGV[2] .. "/" .. ARGV[3])
  end
  if ARGV[9] ~= "0" then
    add_events(KEYS[1], KEYS[2], ARGV[2], status, ARGV[7], ARGV[8], 9)
    keep_shown(KEYS[7], KEYS[1], ARGV[2], status)
  end
end
remember(KEYS[6], ARGV[1], ARGV[3])
return {"done"}
