-- Creates an agent.
--
-- KEYS[1] agent    hash: agent (bytes), created (microseconds); "deleted" alone for a day after it was deleted
-- KEYS[2] agents   sorted set of "created:agent_id", all of score 0: pages go by the members' order
-- KEYS[3] request  string: digest and answer ("created:agent_id")
-- ARGV[1] agent_id
-- ARGV[2] bytes    of the agent
-- ARGV[3] digest   of the call
-- ARGV[4] lifetime of the answer in milliseconds
--
-- Returns {"created", created}, {"repeated", "created:agent_id", bytes} or {"reused"}. The answer holds the bytes as well: what was first
-- answered is answered again even when the agent is gone.
local answer = answered(KEYS[3], ARGV[3])
if answer then
  if answer[1] == "repeated" then
    return {"repeated", string.match(answer[2], "^([^ ]+) "), string.match(answer[2], "^[^ ]+ (.*)$")}
  end
  return answer
end
local time = redis.call("TIME")
local created = string.format("%010d%06d", time[1], time[2])
local member = created .. ":" .. ARGV[1]
redis.call("HSET", KEYS[1], "agent", ARGV[2], "created", created)
redis.call("ZADD", KEYS[2], 0, member)
redis.call("SET", KEYS[3], ARGV[3] .. member .. " " .. ARGV[2], "PX", ARGV[4])
return {"created", created}
