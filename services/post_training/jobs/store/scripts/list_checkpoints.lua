-- Lists checkpoints of all jobs, newest first.
--
-- KEYS[1] sorted set of "job_uuid/identifier" by the time of making
-- ARGV[1] checkpoints  what the keys of jobs' checkpoints begin with; they are in the slot of the others
-- ARGV[2] below        time of the last one seen
-- ARGV[3] seen         those of that time that were seen: the last one's member
-- ARGV[4] limit        most to return
--
-- Returns {checkpoints, member and time of each}.
local found, members = {}, {}
local entries = redis.call("ZREVRANGEBYSCORE", KEYS[1], ARGV[2], "-inf", "WITHSCORES", "LIMIT", 0, tonumber(ARGV[4]) + 1000)
for i = 1, #entries, 2 do
  local member, at = entries[i], entries[i + 1]
  if not (at == ARGV[2] and member >= ARGV[3]) then
    local uuid, identifier = string.match(member, "^([^/]*)/(.*)$")
    local bytes = redis.call("HGET", ARGV[1] .. uuid, identifier)
    if bytes then
      found[#found + 1] = bytes
      members[#members + 1] = {member, at}
    end
    if #found == tonumber(ARGV[4]) then
      break
    end
  end
end
return {found, members}
