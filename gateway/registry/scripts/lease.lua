-- Takes the control loop's lease, or keeps it.
--
-- KEYS[1] lease     string: "holder token"
-- KEYS[2] fence     counter of fencing tokens
-- ARGV[1] holder    tells this process from others
-- ARGV[2] lifetime  of the lease in milliseconds
--
-- Returns the fencing token, or 0 while somebody else holds the lease.
local lease = redis.call("GET", KEYS[1])
if lease then
  if string.match(lease, "^(%S+) ") ~= ARGV[1] then
    return 0
  end
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return tonumber(string.match(lease, " (%d+)$"))
end
local token = redis.call("INCR", KEYS[2])
redis.call("SET", KEYS[1], ARGV[1] .. " " .. token, "PX", ARGV[2])
return token
