-- Reads a data set.
--
-- KEYS[1] dataset  hash
--
-- Returns {dataset, folder, fingerprint, revision, current}, each false when there is none.
return described(KEYS[1])
