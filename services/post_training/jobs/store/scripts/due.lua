-- Lists what is due in a sorted set whose scores are times.
--
-- KEYS[1] set    members by the time when they are due, in milliseconds
-- ARGV[1] limit  most to return
--
-- Returns the members.
return redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now(), "LIMIT", 0, ARGV[1])
