-- Stands before every script of this folder.

local DAY = 86400000

-- The server's time in milliseconds since the epoch.
local function now()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a session can be seen at a time: "live", "absent", or "doomed" when it was deleted or has expired. One whose turn runs does not
-- expire.
local function standing(session, at)
  local fields = redis.call("HMGET", session, "created", "doomed", "expires", "current", "waiting")
  if fields[2] then
    return "doomed"
  end
  if not fields[1] then
    return "absent"
  end
  local expires = tonumber(fields[3])
  local runs = fields[4] ~= "" and fields[5] == "0"
  if expires > 0 and expires <= at and not runs then
    return "doomed"
  end
  return "live"
end

-- Begins the time over after which a session without a turn is forgotten.
local function prolong(session, expiries, member, at)
  local ttl = tonumber(redis.call("HGET", session, "ttl"))
  if ttl == 0 then
    redis.call("HSET", session, "expires", 0)
    redis.call("ZREM", expiries, member)
  else
    redis.call("HSET", session, "expires", at + ttl)
    redis.call("ZADD", expiries, at + ttl, member)
  end
end

-- What a call with the same request id was answered: {"repeated", answer}, {"reused"} when it asked for something else, or nil.
local function answered(request, digest)
  local answer = digest ~= "" and redis.call("GET", request)
  if not answer then
    return nil
  end
  if string.sub(answer, 1, #digest) ~= digest then
    return {"reused"}
  end
  return {"repeated", string.sub(answer, #digest + 1)}
end

-- Keeps an answer for calls with the same request id.
local function remember(request, digest, answer)
  if digest ~= "" then
    redis.call("SET", request, digest .. answer, "PX", DAY)
  end
end

-- Adds the events in ARGV from a place on (their number, then each one's bytes) to a turn's stream under the numbers that follow
-- `sequence`; returns the last number and the place after.
local function add_events(stream, sequence, at, limit, place)
  local count = tonumber(ARGV[place])
  for i = place + 1, place + count do
    sequence = sequence + 1
    redis.call("XADD", stream, "MAXLEN", "~", limit, string.format("%d-0", sequence), "e", ARGV[i], "t", at)
  end
  return sequence, place + count + 1
end

-- Puts the steps in ARGV from a place on (their number, then each one's identifier and bytes) into a turn; returns the place after. A new
-- step's number in its turn stands before its bytes, eight digits.
local function put_steps(turn, place)
  local count = tonumber(ARGV[place])
  for i = place + 1, place + 2 * count, 2 do
    local field = "step:" .. ARGV[i]
    local old = redis.call("HGET", turn, field)
    local number = old and string.sub(old, 1, 8) or string.format("%08d", redis.call("HINCRBY", turn, "steps", 1))
    redis.call("HSET", turn, field, number .. ARGV[i + 1])
  end
  return place + 2 * count + 1
end
