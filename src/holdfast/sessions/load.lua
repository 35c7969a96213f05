-- sessions/load: read a session, and note that it is used if the last note is old.
--
-- KEYS[1]  session  hash. Alive: c(reated), b(orn, its id), l(ast use), e(nds), i(dle) in ms; v(ersion), s(chema of
--                   the data), g(eneration), u(ser), a(bout), k(ey of the names, sealed), q (strict saves, see
--                   save.lua), :<name> one piece of the data each.
--                   Replaced: t(arget, the handle of the new one; '' revoked), x ms until which it leads there,
--                   o(verlap) in ms, r(equest that revoked it)
-- ARGV[1]  touch    milliseconds after which a use is noted again
-- returns  {1, generation or '', now ms, noted (0, 1), fields} alive; {0} none; {2, target} replaced, in its
--          overlap; {3} replaced 10 s ago
-- retry:   safe
-- cost:    O(size of the session)
--
-- No `#!lua` line: where the server takes no writes, it must still be read.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'g')
if known[4] then
  local left = known[5] - now -- more than the overlap: the clock was set back
  if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end
  return {known[4] ~= '' and now - known[5] + known[6] >= 10000 and 3 or 0}
end
if not known[1] then return {0} end
local ends, last, idle = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
if now >= ends or now >= last + idle then return {0} end
local noted = 0
if now - last >= tonumber(ARGV[1]) or last > now then
  if type(redis.pcall('HSET', KEYS[1], 'l', string.format('%.0f', now))) == 'number' then
    noted = 1
    redis.pcall('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + idle, ends)))
  end
end
return {1, known[7] or '', now, noted, redis.call('HGETALL', KEYS[1])}
