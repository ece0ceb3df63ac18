-- Returns the trials of a search, oldest first.
--
-- KEYS[1] trials  sorted set of job_uuid by created
return redis.call("ZRANGE", KEYS[1], 0, -1)
