-- Claims a call of a tool, unless somebody has, or it was made.
--
-- KEYS[1] invocation  hash: digest (of the call), attempts (claims so far), token (of the claim) and lease (its end in milliseconds); once the
--                     call was made kind ("response", "error" or "too large") and content (bytes) in their place
-- ARGV[1] token    tells this claim from others: it may be sent again when its outcome is not known
-- ARGV[2] digest   of the call
-- ARGV[3] lease    milliseconds
--
-- Returns {"claimed", attempts}, {"runs", milliseconds until the lease ends}, {"made", kind, content} or {"reused"}.
local at = now()
local fields = redis.call("HMGET", KEYS[1], "digest", "attempts", "token", "lease", "kind", "content")
if fields[1] and fields[1] ~= ARGV[2] then
  return {"reused"}
end
if fields[5] then
  return {"made", fields[5], fields[6]}
end
if fields[3] == ARGV[1] then
  return {"claimed", fields[2]}
end
if fields[4] and tonumber(fields[4]) > at then
  return {"runs", fields[4] - at}
end
redis.call("HSET", KEYS[1], "digest", ARGV[2], "token", ARGV[1], "lease", at + ARGV[3])
redis.call("PEXPIRE", KEYS[1], DAY)
return {"claimed", redis.call("HINCRBY", KEYS[1], "attempts", 1)}
