-- cache/begin: a put is about to write to the source: remove the entry and refuse every fill until it is finished.
--
-- The lease then holds the marks of all puts under way, '<id>@<end>' each, behind 'P:' while there has been one only and
-- behind 'X:' once two overlapped. Two overlapping puts may reach the source in one order and the cache in the other, so
-- behind 'X:' nobody may store. A mark counts until its own end: a killed writer blocks the key no longer than its lease.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- KEYS[3]  hold   version below which nothing is stored (invalidate.lua)
-- ARGV[1]  id     hexadecimal, new for every put
-- ARGV[2]  lease  milliseconds
-- ARGV[3]  until  server milliseconds after which the caller has given up
-- ARGV[4]  version  8 bytes of what is put, signed, little endian; zero: none
-- returns  what the lease must hold for this put to store its value; '' if it may not, or too late
-- retry:   by request id (the id)
-- cost:    O(puts of this key under way)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[3]) then return '' end
local NONE = string.rep('\0', 8)
local function is_older(one, other) -- signed, little endian
  local low, high = struct.unpack('<I4i4', one)
  local other_low, other_high = struct.unpack('<I4i4', other)
  return high < other_high or (high == other_high and low < other_low)
end
local there = redis.pcall('GETRANGE', KEYS[1], 40, 47)
redis.call('UNLINK', KEYS[1])
if ARGV[4] ~= NONE and type(there) == 'string' and #there == 8 and there ~= NONE then
  local hold = redis.pcall('GET', KEYS[3])
  if type(hold) ~= 'string' or #hold < 8 then hold = NONE end
  local least = string.sub(hold, 1, 8)
  if least == NONE or is_older(least, there) then
    local ttl = math.max(tonumber(ARGV[2]), redis.call('PTTL', KEYS[3])) -- never shorter than it was
    redis.pcall('SET', KEYS[3], there .. string.sub(hold, 9), 'PX', string.format('%.0f', ttl))
  end
end
local held = redis.pcall('GET', KEYS[2]) or ''
if type(held) == 'table' then held = '' end -- of another type: no lease of ours, and replaced below
local marks = {}
if string.sub(held, 1, 2) ~= 'F:' then
  for id, ends in string.gmatch(held, '(%x+)@(%d+)') do
    if id == ARGV[1] then return string.sub(held, 1, 2) == 'P:' and held or '' end
    if tonumber(ends) > now then marks[#marks + 1] = id .. '@' .. ends end
  end
end
marks[#marks + 1] = ARGV[1] .. '@' .. string.format('%.0f', now + tonumber(ARGV[2]))
local value = (#marks == 1 and 'P:' or 'X:') .. table.concat(marks, ',')
redis.call('SET', KEYS[2], value, 'PX', ARGV[2]) -- also when memory is full: only a script's first write is refused
return #marks == 1 and value or ''
