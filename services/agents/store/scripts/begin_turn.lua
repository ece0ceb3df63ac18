-- Begins a turn. Nothing of another slot is needed for it, and of earlier turns nothing is read but their identifiers.
--
-- KEYS[1] session   hash, see create_session; made here for a stateless turn
-- KEYS[2] turns     sorted set of turn_id by the turn's number in its session
-- KEYS[3] turn      hash: base (bytes of a Turn: what never changes), state (bytes of a Turn: what changes), status, revision, sequence (number
--                   of its last event), started and ended (milliseconds), token, holder, lease (end in milliseconds), cancel (reason; there
--                   once somebody wants it cancelled), operation (the last one that wrote), steps (their number), step:<step_id> (number in
--                   eight digits and bytes), forget (milliseconds that it is kept after its end; 0: as long as its session)
-- KEYS[4] spec      hash: config, and create or execute: the request; there until the turn ends
-- KEYS[5] events    stream: entry <number>-0 has e (bytes of the payload) and t (milliseconds)
-- KEYS[6] leases    sorted set of "agent_id/session_id/turn_id" by the end of the lease
-- KEYS[7] expiries  sorted set of "agent_id/session_id" by the time when each expires
-- KEYS[8] request   string: digest and answer (turn_id)
-- ARGV[1] operation tells this call from others: it may be sent again when its outcome is not known
-- ARGV[2] digest    of the call, or ""
-- ARGV[3] session   "agent_id/session_id"
-- ARGV[4] turn_id
-- ARGV[5] holder    this process
-- ARGV[6] lease     milliseconds
-- ARGV[7] revision  that the session must have; "" for any
-- ARGV[8] ttl       of the session after the turn in milliseconds; "0": for ever
-- ARGV[9] forget    milliseconds that the turn is kept after its end; "0": as long as its session
-- ARGV[10] "1" for a stateless turn
-- ARGV[11] limit    of events that are kept
-- ARGV[12] base     bytes
-- ARGV[13] config   bytes
-- ARGV[14] name of the request's field in spec
-- ARGV[15] request  bytes
-- ARGV[16] earlier  most identifiers of earlier turns to return
-- ARGV[17...] steps, see put_steps; then events, see add_events
--
-- Returns {"begun", token, revision, sequence, started, time, turn_ids of the last turns before it, the latest first},
-- {"repeated", turn_id}, {"reused"}, {"absent"}, {"busy", turn_id}, {"awaiting", turn_id} or {"stale", revision}.
local function begun(token, revision, sequence, started, at)
  local number = "(" .. redis.call("ZSCORE", KEYS[2], ARGV[4])
  local earlier = redis.call("ZREVRANGEBYSCORE", KEYS[2], number, "-inf", "LIMIT", 0, ARGV[16])
  return {"begun", token, revision, sequence, started, at, earlier}
end

local at = now()
local mine = redis.call("HMGET", KEYS[3], "operation", "token", "revision", "sequence", "started")
if mine[1] == ARGV[1] then
  return begun(mine[2], mine[3], mine[4], mine[5], at)
end
local answer = answered(KEYS[8], ARGV[2])
if answer then
  return answer
end
if mine[1] then
  return {"repeated", ARGV[4]}
end
local stands = standing(KEYS[1], at)
if stands == "doomed" and ARGV[10] == "1" and redis.call("HEXISTS", KEYS[1], "doomed") == 0 then
  -- The same request id, a day later.
  stands = "live"
end
if stands == "absent" and ARGV[10] == "1" then
  redis.call("HSET", KEYS[1], "session", "", "created", at * 1000, "revision", 1, "count", 0, "number", 0, "current", "", "waiting", 0, "bank", "")
elseif stands ~= "live" then
  return {"absent"}
end
local session = redis.call("HMGET", KEYS[1], "current", "waiting", "revision")
if session[1] ~= "" then
  return {session[2] == "1" and "awaiting" or "busy", session[1]}
end
if ARGV[7] ~= "" and ARGV[7] ~= session[3] then
  return {"stale", session[3]}
end
redis.call("HSET", KEYS[1], "current", ARGV[4], "waiting", 0, "holder", ARGV[5], "ttl", ARGV[8])
redis.call("HINCRBY", KEYS[1], "revision", 1)
redis.call("HINCRBY", KEYS[1], "count", 1)
prolong(KEYS[1], KEYS[7], ARGV[3], at)
redis.call("ZADD", KEYS[2], redis.call("HINCRBY", KEYS[1], "number", 1), ARGV[4])
redis.call("HSET", KEYS[4], "config", ARGV[13], ARGV[14], ARGV[15])
local place = put_steps(KEYS[3], 17)
local sequence = add_events(KEYS[5], 0, at, ARGV[11], place)
redis.call("HSET", KEYS[3], "base", ARGV[12], "state", "", "status", 1, "revision", 1, "sequence", sequence, "started", at, "token", 1,
  "holder", ARGV[5], "lease", at + ARGV[6], "operation", ARGV[1], "forget", ARGV[9])
redis.call("ZADD", KEYS[6], at + ARGV[6], ARGV[3] .. "/" .. ARGV[4])
remember(KEYS[8], ARGV[2], ARGV[4])
return begun(1, 1, sequence, at, at)
