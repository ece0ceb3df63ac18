-- Claims an identifier for one registration, so that two callers cannot load different things under it at once.
--
-- KEYS[1] states      hash: field -> "revision fingerprint" of what is registered
-- KEYS[2] resources   hash: field -> registered resource, protobuf bytes
-- KEYS[3] claims      hash: field -> "token expiry" (milliseconds since the epoch)
-- KEYS[4] revision    counter of all revisions
-- KEYS[5] request     string: "fingerprint" and the answer of an earlier call with the same request id
-- KEYS[6] generation  counter of changes, by which the control loop sees that there is nothing new
-- ARGV[1] field       "kind/identifier"
-- ARGV[2] fingerprint of the registration
-- ARGV[3] token       tells this claim from others
-- ARGV[4] lifetime    of the claim in milliseconds
-- ARGV[5] "1" when the caller gave a request id
--
-- Returns {"repeated", fingerprint, bytes}, {"registered", fingerprint, bytes}, {"busy"} or {"claimed", revision}.
if ARGV[5] == "1" then
  local answer = redis.call("GET", KEYS[5])
  if answer then
    return {"repeated", string.sub(answer, 1, 64), string.sub(answer, 65)}
  end
end
local state = redis.call("HGET", KEYS[1], ARGV[1])
if state then
  return {"registered", string.match(state, " (.*)$"), redis.call("HGET", KEYS[2], ARGV[1])}
end
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claim = redis.call("HGET", KEYS[3], ARGV[1])
-- A claim of one's own is one that was sent again: its answer was lost.
if claim and string.match(claim, "^(%S+) ") ~= ARGV[3] and tonumber(string.match(claim, " (.*)$")) > now then
  return {"busy"}
end
redis.call("HSET", KEYS[3], ARGV[1], string.format("%s %d", ARGV[3], now + tonumber(ARGV[4])))
redis.call("INCR", KEYS[6])
return {"claimed", redis.call("INCR", KEYS[4])}
