-- Puts a new session into its agent's list. The session itself is made by create_session, in another slot.
--
-- KEYS[1] agent     hash: agent, created; or deleted
-- KEYS[2] sessions  sorted set of "created:session_id", all of score 0
-- KEYS[3] request   string: digest and answer ("created:session_id session")
-- ARGV[1] session_id
-- ARGV[2] bytes     of the session
-- ARGV[3] digest    of the call
-- ARGV[4] lifetime  of the answer in milliseconds
--
-- Returns {"listed", created}, {"repeated", "created:session_id", bytes}, {"reused"} or {"absent"}.
local answer = answered(KEYS[3], ARGV[3])
if answer then
  if answer[1] == "repeated" then
    return {"repeated", string.match(answer[2], "^([^ ]+) "), string.match(answer[2], "^[^ ]+ (.*)$")}
  end
  return answer
end
if redis.call("HEXISTS", KEYS[1], "created") == 0 then
  return {"absent"}
end
local time = redis.call("TIME")
local created = string.format("%010d%06d", time[1], time[2])
local member = created .. ":" .. ARGV[1]
redis.call("ZADD", KEYS[2], 0, member)
redis.call("SET", KEYS[3], ARGV[3] .. member .. " " .. ARGV[2], "PX", ARGV[4])
return {"listed", created}
