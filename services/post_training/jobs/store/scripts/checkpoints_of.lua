-- Returns a job's checkpoints, or false when there is no such job.
--
-- KEYS[1] job          hash
-- KEYS[2] checkpoints  hash of this job's
if redis.call("EXISTS", KEYS[1]) == 0 then
  return false
end
return redis.call("HVALS", KEYS[2])
