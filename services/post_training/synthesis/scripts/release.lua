-- Leaves a call to whoever wants it next.
--
-- KEYS[1] holder  string: who works on it
-- ARGV[1] token   of who leaves
if redis.call("GET", KEYS[1]) == ARGV[1] then
  redis.call("DEL", KEYS[1])
end
return true
