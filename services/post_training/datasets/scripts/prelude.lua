-- Stands before every script of this folder. Keys are described in services/post_training/keys.py.

-- What a call with the same request id was answered: {"repeated", answer}, {"reused"} when it asked for something else, or nil.
local function answered(request, digest)
  local answer = redis.call("GET", request)
  if not answer then
    return nil
  end
  if string.sub(answer, 1, #digest) ~= digest then
    return {"reused"}
  end
  return {"repeated", string.sub(answer, #digest + 1)}
end

-- Keeps an answer for calls with the same request id.
local function remember(request, digest, answer, lifetime)
  redis.call("SET", request, digest .. answer, "PX", lifetime)
end

local function described(dataset)
  return redis.call("HMGET", dataset, "dataset", "folder", "fingerprint", "revision", "current")
end
