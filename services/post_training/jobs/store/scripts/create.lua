-- Creates a job.
--
-- KEYS[1] job      hash, see services/post_training/keys.py
-- KEYS[2] events   stream
-- KEYS[3] request  string: digest and answer (job_uuid)
-- KEYS[4] jobs     sorted set of all jobs by created
-- KEYS[5] those of its status
-- KEYS[6] those of its search; KEYS[4] again for none
-- KEYS[7] queue    sorted set by rank
-- KEYS[8] last one of the search that it is a trial of (hash, job); KEYS[1] again for none
-- KEYS[9] graves   set of deleted jobs whose files are still there
-- KEYS[10...] what it uses, see missing_use
-- ARGV[1] digest of the call, or ""
-- ARGV[2] job_uuid
-- ARGV[3] digest of the job's request
-- ARGV[4] created  microseconds
-- ARGV[5] job      bytes
-- ARGV[6] request  bytes
-- ARGV[7] status
-- ARGV[8] kind
-- ARGV[9] parent
-- ARGV[10] labels
-- ARGV[11] lane
-- ARGV[12] rank
-- ARGV[13] keep    milliseconds after its end; "0": for ever
-- ARGV[14] limit   of events that are kept
-- ARGV[15] news    channel
-- ARGV[16...] what it uses, see missing_use; then events, see add_events
--
-- Returns {"created"}, {"repeated", job_uuid}, {"reused"}, {"same"}, {"taken"}, {"again"} when another job was created at that time,
-- {"orphan"} when its search is gone, {"grave"} when files of a deleted job of its name are still there, or {"missing", number}.
local answer = answered(KEYS[3], ARGV[1])
if answer then
  return answer
end
local digest = redis.call("HGET", KEYS[1], "digest")
if digest then
  if digest ~= ARGV[3] then
    return {"taken"}
  end
  remember(KEYS[3], ARGV[1], ARGV[2])
  return {"same"}
end
if redis.call("ZCOUNT", KEYS[4], ARGV[4], ARGV[4]) > 0 then
  return {"again"}
end
if redis.call("SISMEMBER", KEYS[9], ARGV[2]) == 1 then
  return {"grave"}
end
if ARGV[9] ~= "" and redis.call("HEXISTS", KEYS[8], "job") == 0 then
  return {"orphan"}
end
local missing = missing_use(10, 16)
if missing > 0 then
  return {"missing", missing}
end
set_uses("SADD", 10, 16)
redis.call("HSET", KEYS[1], "job", ARGV[5], "request", ARGV[6], "digest", ARGV[3], "status", ARGV[7], "kind", ARGV[8], "parent", ARGV[9],
  "labels", ARGV[10], "created", ARGV[4], "revision", 1, "token", 0, "holder", "", "lane", ARGV[11], "rank", ARGV[12], "crashes", 0,
  "ran", 0, "keep", ARGV[13])
redis.call("ZADD", KEYS[4], ARGV[4], ARGV[2])
redis.call("ZADD", KEYS[5], ARGV[4], ARGV[2])
redis.call("ZADD", KEYS[6], ARGV[4], ARGV[2])
redis.call("ZADD", KEYS[7], ARGV[12], ARGV[2])
add_events(KEYS[1], KEYS[2], ARGV[2], ARGV[7], ARGV[14], ARGV[15], 17 + 2 * tonumber(ARGV[16]))
remember(KEYS[3], ARGV[1], ARGV[2])
return {"created"}
