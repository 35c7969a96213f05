#!lua flags=allow-oom
-- cache/invalidate: remove an entry that is older than a version, and keep older ones out for a while.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- KEYS[3]  hold     8 bytes: a version, below which nothing is stored; '!' behind it: nor what has no version
-- ARGV[1]  version  8 bytes, signed, little endian; zero: none
-- ARGV[2]  hold     milliseconds for which older ones are kept out
-- ARGV[3]  strict   1: what has no version is kept out as well
-- returns  1 removed, 0 there was none, or it is not older
-- retry:   safe
-- cost:    O(1)
local NONE = string.rep('\0', 8)
local function is_older(one, other) -- signed, little endian
  local low, high = struct.unpack('<I4i4', one)
  local other_low, other_high = struct.unpack('<I4i4', other)
  return high < other_high or (high == other_high and low < other_low)
end
redis.call('DEL', KEYS[2]) -- a load under way may have seen what was there before
redis.pcall('SPUBLISH', KEYS[2], 'invalidated')
local there = redis.pcall('GETRANGE', KEYS[1], 40, 47)
local stays = ARGV[1] ~= NONE and type(there) == 'string' and #there == 8 and there ~= NONE
  and not is_older(there, ARGV[1])
local removed = 0
if not stays then removed = redis.call('UNLINK', KEYS[1]) end
local held = redis.pcall('GET', KEYS[3])
local version, strict, ttl = ARGV[1], ARGV[3] == '1', tonumber(ARGV[2])
if type(held) == 'string' and #held >= 8 then -- the newer version, the stricter rule, the later end
  local before = string.sub(held, 1, 8)
  if version == NONE or (before ~= NONE and is_older(version, before)) then version = before end
  strict = strict or string.sub(held, 9) == '!'
  ttl = math.max(ttl, redis.call('PTTL', KEYS[3]))
end
if ttl > 0 then redis.pcall('SET', KEYS[3], version .. (strict and '!' or ''), 'PX', string.format('%.0f', ttl)) end
return removed
