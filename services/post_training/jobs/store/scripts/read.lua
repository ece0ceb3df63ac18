-- Reads a job.
--
-- KEYS[1] job          hash
-- KEYS[2] checkpoints  hash
-- KEYS[3] metrics      hash
-- KEYS[4] children     sorted set of its trials
-- KEYS[5...] queues    in the order of ARGV
-- ARGV    lanes
--
-- Returns false when there is none, else {job, request, digest, lane, token, crashes, ran, keep, told, place in the queue or false, checkpoints,
-- metrics, children, time in microseconds}.
local job = shown(KEYS[1])
if not job then
  return false
end
local fields = redis.call("HMGET", KEYS[1], "request", "digest", "lane", "token", "crashes", "ran", "keep", "told")
local place = false
for i, lane in ipairs(ARGV) do
  if lane == fields[3] then
    local member = string.match(KEYS[1], ":job:(.*)$")
    place = redis.call("ZRANK", KEYS[4 + i], member)
  end
end
return {job, fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7],
  fields[8] or "0", place, redis.call("HVALS", KEYS[2]),
  redis.call("HGETALL", KEYS[3]), redis.call("ZRANGE", KEYS[4], 0, -1), whole(now_us())}
