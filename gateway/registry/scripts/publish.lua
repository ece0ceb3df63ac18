-- Publishes what the gateway routes by, if the publisher still holds the lease.
--
-- KEYS[1] lease      string: "holder token"
-- KEYS[2] published  hash: version, and the parts below
-- KEYS[3] news       channel that tells the followers the new version
-- ARGV[1] lease      that the publisher believes to hold, "holder token"
-- ARGV[2] version    that the publisher has seen; the new one is above it even if the store was emptied
-- ARGV[3...]         names and bytes of the parts, in turn
--
-- Returns the new version, or 0 when the lease was lost.
if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return 0
end
local version = math.max(tonumber(redis.call("HGET", KEYS[2], "version") or "0"), tonumber(ARGV[2])) + 1
redis.call("HSET", KEYS[2], "version", version, unpack(ARGV, 3))
redis.call("PUBLISH", KEYS[3], version)
return version
