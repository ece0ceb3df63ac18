-- Creates a data set with its first revision.
--
-- KEYS[1] dataset      hash
-- KEYS[2] revisions    hash
-- KEYS[3] datasets     sorted set
-- KEYS[4] of_format    sorted set: those of the same format
-- KEYS[5] folders      hash
-- KEYS[6] request      string: digest and answer
-- ARGV[1] dataset_id
-- ARGV[2] bytes        of the data set
-- ARGV[3] folder
-- ARGV[4] fingerprint
-- ARGV[5] record       of the revision
-- ARGV[6] digest       of the call
-- ARGV[7] answer
-- ARGV[8] lifetime     of the answer in milliseconds
--
-- Returns {"created"}, {"repeated", answer}, {"reused"}, {"same", dataset, folder, fingerprint, revision, current} or {"taken"}.
local answer = answered(KEYS[6], ARGV[6])
if answer then
  return answer
end
local there = described(KEYS[1])
if there[1] then
  if there[3] == ARGV[4] then
    return {"same", unpack(there)}
  end
  return {"taken"}
end
redis.call("HSET", KEYS[1], "dataset", ARGV[2], "folder", ARGV[3], "fingerprint", ARGV[4], "revision", 1, "current", ARGV[5])
redis.call("HSET", KEYS[2], 1, ARGV[5])
redis.call("ZADD", KEYS[3], 0, ARGV[1])
redis.call("ZADD", KEYS[4], 0, ARGV[1])
redis.call("HSET", KEYS[5], ARGV[3], ARGV[1])
remember(KEYS[6], ARGV[6], ARGV[7], ARGV[8])
return {"created"}
