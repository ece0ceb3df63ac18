-- Changes where a job stands.
--
-- KEYS[1] job        hash
-- KEYS[2] events     stream
-- KEYS[3] request    string: digest and answer
-- KEYS[4] leases     sorted set by the end of the lease
-- KEYS[5] expiries   sorted set by the time when it goes
-- KEYS[6] queue      sorted set by rank
-- KEYS[7] delayed    sorted set by the time when it comes into the queue
-- KEYS[8] jobs of the status that it has
-- KEYS[9] jobs of the status that it gets
-- KEYS[10] ended     hash of ended jobs as lists show them
-- KEYS[11...] what it uses, see missing_use
-- ARGV[1] operation  tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] digest     of the call, or ""
-- ARGV[3] job_uuid
-- ARGV[4] revision   that it must have
-- ARGV[5] token      that the caller's lease has; "" for a caller without
-- ARGV[6] "1": refuse unless its lease has run out
-- ARGV[7] job        bytes
-- ARGV[8] status
-- ARGV[9] move       "queue", "claim", "stay" or "rest"
-- ARGV[10] milliseconds: of delay in the queue, or of the lease
-- ARGV[11] holder
-- ARGV[12] crashes
-- ARGV[13] ran       milliseconds
-- ARGV[14] expiry    milliseconds since the epoch; "0" for none
-- ARGV[15] uses      "keep", "release" or "acquire"
-- ARGV[16] limit     of events that are kept
-- ARGV[17] news      channel
-- ARGV[18...] what it uses, see missing_use; then events, see add_events
--
-- Returns {"done", token}, {"repeated"}, {"reused"}, {"stale"}, {"lost"}, or {"missing", number}.
local answer = answered(KEYS[3], ARGV[2])
if answer then
  return answer
end
local fields = redis.call("HMGET", KEYS[1], "revision", "token", "operation", "status", "rank", "created")
if fields[3] == ARGV[1] then
  return {"done", fields[2]}
end
if ARGV[5] ~= "" and (fields[2] ~= ARGV[5] or redis.call("ZSCORE", KEYS[4], ARGV[3]) == false) then
  return {"lost"}
end
if fields[1] ~= ARGV[4] then
  return {"stale"}
end
local at = now()
if ARGV[6] == "1" then
  local lease = redis.call("ZSCORE", KEYS[4], ARGV[3])
  if not lease or tonumber(lease) > at then
    return {"stale"}
  end
end
if ARGV[15] == "acquire" then
  local missing = missing_use(11, 18)
  if missing > 0 then
    return {"missing", missing}
  end
  set_uses("SADD", 11, 18)
elseif ARGV[15] == "release" then
  set_uses("SREM", 11, 18)
end
if ARGV[9] ~= "stay" then
  redis.call("ZREM", KEYS[4], ARGV[3])
  redis.call("ZREM", KEYS[6], ARGV[3])
  redis.call("ZREM", KEYS[7], ARGV[3])
end
local token = tonumber(fields[2])
if ARGV[9] == "claim" then
  token = token + 1
  redis.call("ZADD", KEYS[4], at + tonumber(ARGV[10]), ARGV[3])
elseif ARGV[9] == "queue" then
  if tonumber(ARGV[10]) > 0 then
    redis.call("ZADD", KEYS[7], at + tonumber(ARGV[10]), ARGV[3])
  else
    redis.call("ZADD", KEYS[6], fields[5], ARGV[3])
  end
end
redis.call("ZREM", KEYS[5], ARGV[3])
if ARGV[14] ~= "0" then
  redis.call("ZADD", KEYS[5], ARGV[14], ARGV[3])
end
redis.call("HSET", KEYS[1], "job", ARGV[7], "status", ARGV[8], "revision", fields[1] + 1, "token", token, "holder", ARGV[11], "crashes",
  ARGV[12], "ran", ARGV[13], "operation", ARGV[1])
if fields[4] ~= ARGV[8] then
  redis.call("ZREM", KEYS[8], ARGV[3])
  redis.call("ZADD", KEYS[9], fields[6], ARGV[3])
end
add_events(KEYS[1], KEYS[2], ARGV[3], ARGV[8], ARGV[16], ARGV[17], 19 + 2 * tonumber(ARGV[18]))
keep_shown(KEYS[10], KEYS[1], ARGV[3], ARGV[8])
remember(KEYS[3], ARGV[2], ARGV[3])
return {"done", token}
