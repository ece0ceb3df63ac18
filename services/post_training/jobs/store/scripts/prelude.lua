-- Stands before every script of this folder.

local DAY = 86400000

-- The server's time in microseconds since the epoch.
local function now_us()
  local time = redis.call("TIME")
  return time[1] * 1000000 + time[2]
end

-- The server's time in milliseconds since the epoch.
local function now()
  return math.floor(now_us() / 1000)
end

-- Whole numbers beyond 2^31 as text: Lua's own conversion makes 1e+15 of them.
local function whole(number)
  return string.format("%.0f", number)
end

-- A number as protobuf writes it.
local function varint(number)
  local bytes = {}
  while number >= 128 do
    bytes[#bytes + 1] = string.char(number % 128 + 128)
    number = math.floor(number / 128)
  end
  bytes[#bytes + 1] = string.char(number)
  return table.concat(bytes)
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

-- Adds the events in ARGV from a place on (their number, then each one's bytes) to a job under the numbers that follow its last one, and
-- tells those who watch; returns the number of the last and the place after.
local function add_events(job, events, uuid, status, limit, channel, place)
  local sequence = tonumber(redis.call("HGET", job, "sequence") or "0")
  local count = tonumber(ARGV[place])
  for i = place + 1, place + count do
    sequence = sequence + 1
    redis.call("XADD", events, "MAXLEN", "~", limit, whole(sequence) .. "-0", "e", ARGV[i])
  end
  redis.call("HSET", job, "sequence", whole(sequence))
  redis.call("PUBLISH", channel, uuid .. " " .. status .. " " .. whole(sequence))
  return sequence, place + count + 1
end

-- Checks what a job uses, in KEYS from a place on (for each: a hash and the key of its users) and ARGV from a place on (their number, then
-- for each: the field that the hash must have, and the user's name); returns the number of the first that is missing, or 0.
local function missing_use(key, place)
  local count = tonumber(ARGV[place])
  for i = 1, count do
    if redis.call("HEXISTS", KEYS[key + 2 * i - 2], ARGV[place + 2 * i - 1]) == 0 then
      return i
    end
  end
  return 0
end

-- Writes the job down as a user of what it uses, or strikes it out; arguments as for missing_use.
local function set_uses(command, key, place)
  local count = tonumber(ARGV[place])
  for i = 1, count do
    redis.call(command, KEYS[key + 2 * i - 1], ARGV[place + 2 * i])
  end
end

-- A job as bytes of a Job, without request, checkpoints, trials and place in the queue, then its status and lane; nil when there is none.
local function shown(job)
  local fields = redis.call("HMGET", job, "job", "progress", "sequence", "status", "lane")
  if not fields[1] then
    return nil
  end
  -- Bytes of messages that follow one another are one message. Field 22 is last_sequence.
  return fields[1] .. (fields[2] or "") .. "\176\1" .. varint(tonumber(fields[3])), fields[4], fields[5]
end

-- Keeps an ended job as lists show it; one that has not ended is not kept.
local function keep_shown(ended, job, uuid, status)
  if status == "3" or status == "4" or status == "5" then
    redis.call("HSET", ended, uuid, (shown(job)))
  else
    redis.call("HDEL", ended, uuid)
  end
end
