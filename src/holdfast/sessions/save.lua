#!lua
-- sessions/save: write what was changed of a session that lives.
--
-- KEYS[1]  session  see load.lua. q: the last saves, '<request>=<version>' each
-- ARGV[1]  version  that must be the last one; '' any
-- ARGV[2]  request  names this one: letters, digits, _ and -
-- ARGV[3]  read     schema in which the data was read
-- ARGV[4]  schema   in which it is written
-- ARGV[5]  idle     milliseconds, new; '' as it is
-- ARGV[6]  whole    '1': what is written is all the data there is
-- ARGV[7]  removed  how many names of fields follow that go
-- ARGV[8..] fields  those names; then names and values of fields
-- returns  {1, generation or '', now ms, version}; {0} none; {2, target} replaced, in its overlap;
--          {3} replaced 10 s ago; {4, version} another version or schema
-- retry:   by request id
-- cost:    O(what is written); whole: O(size of the session)
-- Requests that are known again: as many as a small hash has room for (64 bytes). And ms without a use after which
-- none is.
local SAVES, WHILE = 4, 60000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'v', 's', 'q', 'g')
if known[4] then
  local left = known[5] - now
  if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end
  return {known[4] ~= '' and now - known[5] + known[6] >= 10000 and 3 or 0}
end
if not known[1] then return {0} end
local ends, idle = tonumber(known[1]), tonumber(known[3])
if now >= ends or now >= known[2] + idle then return {0} end
local saves = {}
for request, version in string.gmatch(known[9] or '', '([%w_-]+)=(%d+)') do
  if request == ARGV[2] then return {1, known[10] or '', now, tonumber(version)} end
  saves[#saves + 1] = request .. '=' .. version
end
if known[8] ~= ARGV[3] or (ARGV[1] ~= '' and known[7] ~= ARGV[1]) then return {4, tonumber(known[7])} end
local version = known[7] + 1
if ARGV[6] == '1' then
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(name, 1, 1) == ':' then redis.call('HDEL', KEYS[1], name) end
  end
end
local first = 8 + ARGV[7]
for place = 8, first - 1 do redis.call('HDEL', KEYS[1], ARGV[place]) end
saves[#saves + 1] = ARGV[2] .. '=' .. string.format('%.0f', version)
local oldest = now - known[2] > WHILE and #saves or math.max(1, #saves - SAVES + 1)
if ARGV[5] ~= '' then idle = tonumber(ARGV[5]) end
redis.call('HSET', KEYS[1], 'v', string.format('%.0f', version), 'l', string.format('%.0f', now), 's', ARGV[4],
  'i', string.format('%.0f', idle), 'q', table.concat(saves, ' ', oldest),
  unpack(ARGV, first, math.min(first + 999, #ARGV)))
for place = first + 1000, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, place, math.min(place + 999, #ARGV)))
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + idle, ends)))
return {1, known[10] or '', now, version}
