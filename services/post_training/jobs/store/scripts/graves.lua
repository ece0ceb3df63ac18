-- Deleted jobs whose files are still there.
--
-- KEYS[1] graves  set of job_uuid
-- ARGV[1] "list" or "bury"
-- ARGV[2] most to return, or the job whose files are gone
--
-- Returns jobs, or nothing.
if ARGV[1] == "bury" then
  redis.call("SREM", KEYS[1], ARGV[2])
  return {}
end
return redis.call("SRANDMEMBER", KEYS[1], ARGV[2])
