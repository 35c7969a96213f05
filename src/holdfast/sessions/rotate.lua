#!lua flags=allow-oom
-- sessions/rotate: have the id of a session lead to another one, which holds the same, for a while.
--
-- KEYS[1]  session   see load.lua
-- ARGV[1]  target    handle of the other one, new for every request
-- ARGV[2]  version   of the session that was copied
-- ARGV[3]  overlap   milliseconds for which it leads there; '0' never
-- ARGV[4]  remember  milliseconds for which it is known that it was replaced
-- returns  {1} done; {0} none; {2, target} replaced by somebody else, in its overlap;
--          {3} replaced 10 s ago; {4, now ms, fields} the version is another
-- retry:   by request id (the target)
-- cost:    O(size of the session)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'v')
if known[4] then
  if known[4] == ARGV[1] then return {1} end
  local left = known[5] - now
  if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end
  return {known[4] ~= '' and now - known[5] + known[6] >= 10000 and 3 or 0}
end
if not known[1] or now >= tonumber(known[1]) or now >= known[2] + known[3] then return {0} end
if known[7] ~= ARGV[2] then return {4, now, redis.call('HGETALL', KEYS[1])} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 't', ARGV[1], 'x', string.format('%.0f', now + ARGV[3]), 'o', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {1}
