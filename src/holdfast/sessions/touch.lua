#!lua flags=allow-oom
-- sessions/touch: note that a session is used now.
--
-- KEYS[1]  session  see load.lua
-- returns  {1, generation or '', now ms}; {0} none; {2, target} replaced, in its overlap; {3} replaced 10 s ago
-- retry:   safe
-- cost:    O(1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'g')
if known[4] then
  local left = known[5] - now
  if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end
  return {known[4] ~= '' and now - known[5] + known[6] >= 10000 and 3 or 0}
end
if not known[1] then return {0} end
local ends, last, idle = tonumber(known[1]), tonumber(known[2]), tonumber(known[3])
if now >= ends or now >= last + idle then return {0} end
redis.call('HSET', KEYS[1], 'l', string.format('%.0f', now))
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + idle, ends)))
return {1, known[7] or '', now}
