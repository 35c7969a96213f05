#!lua flags=allow-oom
-- sessions/pop: take one piece of the data out.
--
-- KEYS[1]  session   see load.lua
-- KEYS[2]  memo      of this request: what it took, '' nothing
-- ARGV[1]  field     of the piece
-- ARGV[2]  remember  milliseconds for which the memo is kept
-- returns  {1, generation or '', version, piece} ('' it was not there); {0} none; {2, target} replaced, in its
--          overlap; {3} replaced 10 s ago
-- retry:   by request id (the memo)
-- cost:    O(size of the piece)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'v', 'g', ARGV[1])
if known[4] then
  local left = known[5] - now
  if left > 0 and left <= tonumber(known[6]) then return {2, known[4]} end
  return {known[4] ~= '' and now - known[5] + known[6] >= 10000 and 3 or 0}
end
if not known[1] or now >= tonumber(known[1]) or now >= known[2] + known[3] then return {0} end
local taken = redis.call('GET', KEYS[2])
if taken then return {1, known[8] or '', tonumber(known[7]), taken} end
if not known[9] then return {1, known[8] or '', tonumber(known[7]), ''} end
redis.call('SET', KEYS[2], known[9], 'PX', ARGV[2])
redis.call('HDEL', KEYS[1], ARGV[1])
return {1, known[8] or '', redis.call('HINCRBY', KEYS[1], 'v', 1), known[9]}
