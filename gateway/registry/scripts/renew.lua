-- Keeps a claim for longer.
--
-- KEYS[1] claims      hash: field -> "token expiry"
-- ARGV[1] field       "kind/identifier"
-- ARGV[2] token       of the claim
-- ARGV[3] lifetime    from now on, in milliseconds
--
-- Returns 1, or 0 when the claim is not ours any more.
local claim = redis.call("HGET", KEYS[1], ARGV[1])
if not claim or string.match(claim, "^(%S+) ") ~= ARGV[2] then
  return 0
end
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call("HSET", KEYS[1], ARGV[1], string.format("%s %d", ARGV[2], now + tonumber(ARGV[3])))
return 1
