-- Looks for what a call was answered.
--
-- KEYS[1] request  string: digest and answer
-- ARGV[1] digest   of the call
--
-- Returns {"repeated", answer}, {"reused"} or false.
return answered(KEYS[1], ARGV[1]) or false
