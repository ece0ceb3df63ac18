-- Deletes an agent; its sessions are doomed afterwards, one by one, since they live elsewhere.
--
-- KEYS[1] agent     hash: agent, created; or deleted
-- KEYS[2] agents    sorted set of "created:agent_id"
-- KEYS[3] deleting  set of agents whose sessions are not all doomed yet
-- KEYS[4] request   string: digest
-- ARGV[1] agent_id
-- ARGV[2] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[3] digest    of the call, or ""
--
-- Returns {"deleted"}, {"absent"}, {"repeated", ""} or {"reused"}.
local answer = answered(KEYS[4], ARGV[3])
if answer then
  return answer
end
local fields = redis.call("HMGET", KEYS[1], "created", "deleted")
if fields[2] == ARGV[2] then
  return {"deleted"}
end
if not fields[1] then
  return {"absent"}
end
redis.call("DEL", KEYS[1])
redis.call("HSET", KEYS[1], "deleted", ARGV[2])
redis.call("PEXPIRE", KEYS[1], DAY)
redis.call("ZREM", KEYS[2], fields[1] .. ":" .. ARGV[1])
redis.call("SADD", KEYS[3], ARGV[1])
remember(KEYS[4], ARGV[3], "")
return {"deleted"}
