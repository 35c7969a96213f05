-- cache/fill: store what was loaded, if the lease it was loaded under is still there, and nothing newer is known.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- KEYS[3]  target    where to store: the entry, or its variant for another schema
-- KEYS[4]  hold      version below which nothing is stored (invalidate.lua), 8 bytes and '!' if it needs one
-- ARGV[1]  token     what the lease must hold: of a fill 'F:<id>', of a put the mark that begin.lua gave
-- ARGV[2]  envelope
-- ARGV[3]  ttl       milliseconds
-- ARGV[4]  stamp     of the entry that the variant belongs to; '' for the entry itself
-- returns  1 stored, 0 refused: invalidated, set or taken over since, or the lease has ended; 2 refused: outdated
-- retry:   safe (a repeated fill finds its own stamp and changes nothing)
-- cost:    O(size of the envelope)
local NONE = string.rep('\0', 8)
local function is_older(one, other) -- signed, little endian
  local low, high = struct.unpack('<I4i4', one)
  local other_low, other_high = struct.unpack('<I4i4', other)
  return high < other_high or (high == other_high and low < other_low)
end
local version = string.sub(ARGV[2], 41, 48)
local held = redis.call('GET', KEYS[2]) == ARGV[1]
local same = ARGV[4] == '' or redis.call('GETRANGE', KEYS[1], 8, 15) == ARGV[4]
local stored = 0
if held and same then
  local hold = redis.pcall('GET', KEYS[4])
  local there = redis.pcall('GETRANGE', KEYS[1], 40, 47)
  stored = 1
  if type(hold) == 'string' and #hold >= 8 then
    if version == NONE and string.sub(hold, 9) == '!' then stored = 2 end
    local least = string.sub(hold, 1, 8)
    if version ~= NONE and least ~= NONE and is_older(version, least) then stored = 2 end
  end
  -- One of another epoch was cleared: nobody can read it, so it keeps nothing out.
  local lives = redis.pcall('GETRANGE', KEYS[1], 16, 23) == string.sub(ARGV[2], 17, 24)
  if lives and version ~= NONE and type(there) == 'string' and #there == 8 and there ~= NONE and is_older(version, there) then
    stored = 2
  end
  if stored == 1 then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3]) end
elseif redis.pcall('GETRANGE', KEYS[3], 8, 15) == string.sub(ARGV[2], 9, 16) then
  stored = 1 -- by the request whose reply was lost
end
if held then redis.call('DEL', KEYS[2]) end
redis.pcall('SPUBLISH', KEYS[2], 'filled') -- pcall: without the right to publish, waiters look once a second
return stored
