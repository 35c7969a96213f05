-- cache/set: store a value, and refuse every fill and put that is under way.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- KEYS[3]  hold   version below which nothing is stored (invalidate.lua)
-- ARGV[1]  envelope  one with a version replaces none that is newer
-- ARGV[2]  ttl    milliseconds
-- ARGV[3]  until  server milliseconds after which the caller has given up
-- returns  1 stored, 0 too late, 2 refused: a newer version is known
-- retry:   safe (the caller still wants this value)
-- cost:    O(size of the envelope)
local NONE = string.rep('\0', 8)
local function is_older(one, other) -- signed, little endian
  local low, high = struct.unpack('<I4i4', one)
  local other_low, other_high = struct.unpack('<I4i4', other)
  return high < other_high or (high == other_high and low < other_low)
end
local time = redis.call('TIME')
-- Stuck behind a frozen server, it would otherwise bring an old value back after a later invalidation.
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[3]) then return 0 end
local version = string.sub(ARGV[1], 41, 48)
if version ~= NONE then
  local hold = redis.pcall('GET', KEYS[3])
  local there = redis.pcall('GETRANGE', KEYS[1], 40, 47)
  local least = type(hold) == 'string' and #hold >= 8 and string.sub(hold, 1, 8) or NONE
  if least ~= NONE and is_older(version, least) then return 2 end
  -- One of another epoch was cleared: nobody can read it, so it keeps nothing out.
  local same = redis.pcall('GETRANGE', KEYS[1], 16, 23) == string.sub(ARGV[1], 17, 24)
  if same and type(there) == 'string' and #there == 8 and there ~= NONE and is_older(version, there) then return 2 end
end
local reply = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if reply.err then
  redis.call('UNLINK', KEYS[1], KEYS[2]) -- memory is full: the older value must go all the same
  return reply
end
redis.call('DEL', KEYS[2])
redis.pcall('SPUBLISH', KEYS[2], 'set')
return 1
