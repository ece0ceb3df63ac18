-- Lists jobs, newest first.
--
-- KEYS[1] ended   hash of ended jobs as lists show them
-- KEYS[2...]      sorted sets of jobs by created: those listed are in one of them
-- ARGV[1] jobs    what the keys of jobs begin with; they are in the slot of the others
-- ARGV[2] below   created of the last one seen, exclusive; "+inf" at the beginning
-- ARGV[3] from    least created
-- ARGV[4] limit   most to return
-- ARGV[5] scan    most to look at
-- ARGV[6] kinds   ",1,2," of those wanted; "" for all
-- ARGV[7] parent  that they must have; "" for any
-- ARGV[8...] labels that they must have, as they are in the field
--
-- Returns {bytes of a message whose field 1 is the jobs, how many, created of the last one looked at, "1" when there may be more, numbers (from
-- 1) and identifiers of those that wait in the queue with their lanes}.
local limit, scan = tonumber(ARGV[4]), tonumber(ARGV[5])
local all = ARGV[6] == "" and ARGV[7] == "" and not ARGV[8]
local lists = {}
for i = 1, #KEYS - 1 do
  lists[i] = redis.call("ZREVRANGEBYSCORE", KEYS[i + 1], "(" .. ARGV[2], ARGV[3], "WITHSCORES", "LIMIT", 0, all and math.min(limit, scan) or scan)
end
local places = {}
for i = 1, #lists do
  places[i] = 1
end

-- The next of all lists; nil at the end.
local function newest()
  local best = nil
  for i, list in ipairs(lists) do
    if list[places[i]] and (not best or tonumber(list[places[i] + 1]) > tonumber(lists[best][places[best] + 1])) then
      best = i
    end
  end
  if not best then
    return nil
  end
  local place = places[best]
  places[best] = place + 2
  return lists[best][place], lists[best][place + 1]
end

local function wanted(job)
  if all then
    return true
  end
  local fields = redis.call("HMGET", job, "kind", "parent", "labels")
  if ARGV[6] ~= "" and not string.find(ARGV[6], "," .. tostring(fields[1]) .. ",", 1, true) then
    return false
  end
  if ARGV[7] ~= "" and fields[2] ~= ARGV[7] then
    return false
  end
  for i = 8, #ARGV do
    if not string.find(fields[3] or "", ARGV[i], 1, true) then
      return false
    end
  end
  return true
end

local found, waiting, beginnings = {}, {}, {}

-- What stands before a job of so many bytes; most are of a few lengths.
local function beginning(length)
  local text = beginnings[length]
  if not text then
    text = "\10" .. varint(length)
    beginnings[length] = text
  end
  return text
end

-- Adds a job to what is found.
local function add(uuid, kept)
  local job, status, lane = kept, nil, nil
  if not kept then
    job, status, lane = shown(ARGV[1] .. uuid)
  end
  if job then
    found[#found + 1] = beginning(#job) .. job
    if status == "1" then
      waiting[#waiting + 1] = {#found, uuid, lane}
    end
  end
end

local chosen, looked, last, more = {}, 0, ARGV[2], "1"
while #chosen < limit and looked < scan do
  local uuid, created = newest()
  if not uuid then
    more = "0"
    break
  end
  looked, last = looked + 1, created
  if wanted(ARGV[1] .. uuid) then
    chosen[#chosen + 1] = uuid
  end
end
if #chosen > 0 then
  local kept = redis.call("HMGET", KEYS[1], unpack(chosen))
  for i, uuid in ipairs(chosen) do
    add(uuid, kept[i])
  end
end
return {table.concat(found), #found, last, more, waiting}
