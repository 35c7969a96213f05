#!lua flags=allow-oom
-- streams/leave: end a membership; what the member still has pending is free for others at once.
--
-- KEYS[1]  stream
-- KEYS[2]  members  see turn.lua
-- KEYS[3]  bell     see turn.lua
-- KEYS[4]  turns    see turn.lua
-- ARGV[1]  group
-- ARGV[2]  member
-- returns  entries that it leaves pending
-- retry:   safe
-- cost:    O(log(members))
local left = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if left.err or not left[1] then
  redis.pcall('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZREM', KEYS[2], ARGV[2])
  redis.call('HDEL', KEYS[4], ARGV[2], '~' .. ARGV[2], '=' .. ARGV[2])
else
  redis.call('ZADD', KEYS[2], 'XX', 0, ARGV[2]) -- dead, not forgotten: so others know whose entries to take
end
redis.call('DEL', KEYS[3])
redis.pcall('SPUBLISH', KEYS[1], '')
return left.err and 0 or #left
