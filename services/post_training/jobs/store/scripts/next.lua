-- Tells which jobs' turn it is, after those whose delay is over have come into the queue.
--
-- KEYS[1] queue    sorted set by rank
-- KEYS[2] delayed  sorted set by the time when each comes into the queue
-- ARGV[1] jobs     what the keys of jobs begin with; they are in the slot of the others
-- ARGV[2] limit    most to return
--
-- Returns {jobs, milliseconds until the next one comes into the queue or -1}.
local at = now()
for _, uuid in ipairs(redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", at, "LIMIT", 0, 1000)) do
  redis.call("ZREM", KEYS[2], uuid)
  local rank = redis.call("HGET", ARGV[1] .. uuid, "rank")
  if rank then
    redis.call("ZADD", KEYS[1], rank, uuid)
  end
end
local due = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
return {redis.call("ZRANGE", KEYS[1], 0, ARGV[2] - 1), due[2] and math.max(0, due[2] - at) or -1}
