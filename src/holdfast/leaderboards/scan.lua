#!lua flags=no-writes
-- leaderboards/scan: some members of a period, and where to go on; for a merge.
--
-- KEYS[1]  meta    see write.lua; the same as KEYS[3]: it was looked at before
-- KEYS[2]  data    see write.lua
-- KEYS[3]  scores  of the period; see write.lua
-- ARGV[1]  kept    see write.lua
-- ARGV[2]  begins  of the period that is thought to run now, server milliseconds
-- ARGV[3]  ends    likewise; '0' no matter
-- ARGV[4]  cursor  '0' at first; '0' comes back at the end
-- ARGV[5]  count   members, roughly
-- returns  {'ok', cursor, {member, score, ...}, data}: data of each member, or {}. Who is on the board all the
--          time is seen at least once. {'time', ms}: another period runs. {'other', kept}: see write.lua
-- retry:   safe
-- cost:    O(count)
if KEYS[1] ~= KEYS[3] then
  local meta = redis.call('GET', KEYS[1])
  if meta and meta ~= ARGV[1] then return {'other', meta} end
end
if ARGV[3] ~= '0' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now < tonumber(ARGV[2]) or now >= tonumber(ARGV[3]) then return {'time', now} end
end
local kind = string.match(ARGV[1], '^%a+')
local found = redis.call('ZSCAN', KEYS[3], ARGV[4], 'COUNT', ARGV[5])
local rows, members = found[2], {}
for at = 1, #rows, 2 do
  members[#members + 1] = kind == 'first' and string.sub(rows[at], 12) or rows[at]
end
local data = {}
if #members > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  data = redis.call('HMGET', KEYS[2], unpack(members))
end
return {'ok', found[1], rows, data}
