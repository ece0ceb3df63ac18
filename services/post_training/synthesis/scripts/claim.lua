-- Takes a call that may come again.
--
-- KEYS[1] request  string: digest and folder of the call
-- KEYS[2] holder   string: who works on it
-- ARGV[1] digest   of what the call asks for
-- ARGV[2] folder   name for it, if the call is new
-- ARGV[3] token    of who asks
-- ARGV[4] lease    in milliseconds
-- ARGV[5] kept     milliseconds that the call is remembered
--
-- Returns {"held", folder}, {"busy"} or {"reused"}.
local known = redis.call("GET", KEYS[1])
local folder = ARGV[2]
if known then
  local digest, name = string.match(known, "^(%x+) (%x+)$")
  if digest ~= ARGV[1] then
    return {"reused"}
  end
  folder = name
end
local holder = redis.call("GET", KEYS[2])
if holder and holder ~= ARGV[3] then
  return {"busy"}
end
if not known then
  redis.call("SET", KEYS[1], ARGV[1] .. " " .. folder, "PX", ARGV[5])
end
redis.call("SET", KEYS[2], ARGV[3], "PX", ARGV[4])
return {"held", folder}
