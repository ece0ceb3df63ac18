-- Tells of which data sets folders are.
--
-- KEYS[1] folders  hash
-- ARGV    names of folders
--
-- Returns the identifiers, false for a folder of none.
return redis.call("HMGET", KEYS[1], unpack(ARGV))
