-- Reads data sets in the order of their identifiers.
--
-- KEYS[1] datasets  sorted set
-- ARGV[1] after     identifier that they come after, or ""
-- ARGV[2] limit     most to return
-- ARGV[3] prefix    what the key of a data set begins with; of the same hash tag
--
-- Returns a list of {dataset, folder, fingerprint, revision, current}.
local from = ARGV[1] == "" and "-" or "(" .. ARGV[1]
local found = {}
for place, dataset_id in ipairs(redis.call("ZRANGE", KEYS[1], from, "+", "BYLEX", "LIMIT", 0, ARGV[2])) do
  found[place] = described(ARGV[3] .. dataset_id)
end
return found
