-- Looks for what a call did when it came before.
--
-- KEYS[1] request  string: digest and answer
-- KEYS[2] job      hash
-- ARGV[1] digest   of the call, or ""
-- ARGV[2] digest   of the job's request, or ""
--
-- Returns {"repeated", answer}, {"reused"}, {"same"}, {"taken"} or {"none", time in microseconds}.
local answer = answered(KEYS[1], ARGV[1])
if answer then
  return answer
end
local digest = ARGV[2] ~= "" and redis.call("HGET", KEYS[2], "digest")
if digest then
  return {digest == ARGV[2] and "same" or "taken"}
end
return {"none", whole(now_us())}
