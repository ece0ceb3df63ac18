-- Notes which folder on disk belongs to what is kept here.
--
-- KEYS[1] storage   string: identity of the folder
-- ARGV[1] identity  of a folder, or "" to look only
--
-- Returns the identity that is known, or "".
if ARGV[1] ~= "" then
  redis.call("SET", KEYS[1], ARGV[1], "NX")
end
return redis.call("GET", KEYS[1]) or ""
