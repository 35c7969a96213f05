#!lua flags=no-writes
-- analytics/tops: what some tops hold.
--
-- KEYS[1..] tops    of each bucket two keys: a zset and a hash, see top.lua
-- returns  of each bucket that has any items: {items and counts, items and errors}
-- retry:   safe (changes nothing)
-- cost:    O(items)
local found = {}
for key = 1, #KEYS, 2 do
  local counts = redis.call('ZRANGE', KEYS[key], 0, -1, 'WITHSCORES')
  if #counts > 0 then found[#found + 1] = {counts, redis.call('HGETALL', KEYS[key + 1])} end
end
return found
