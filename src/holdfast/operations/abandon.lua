#!lua flags=allow-oom
-- operations/abandon: whoever asked to begin went away before the answer. Undo it, also if it comes only now.
--
-- KEYS[1]  record  see begin.lua; a channel as well
-- KEYS[2]  due
-- KEYS[3]  names
-- KEYS[4]  gone    of the token
-- ARGV[1]  name
-- ARGV[2]  token   of the request that began it
-- ARGV[3]  stray   milliseconds for which the request may still be on its way
-- returns  1 undone; 0 there is nothing to undo
-- retry:   safe
-- cost:    O(log(operations pending))
redis.call('SET', KEYS[4], '1', 'PX', ARGV[3])
local known = redis.call('HMGET', KEYS[1], 'state', 'token', 'attempt', 'error', 'fence')
if known[1] ~= 'running' or known[2] ~= ARGV[2] then return 0 end
if known[3] == '1' and not known[4] then -- with an error it was dead once, and has checkpoints
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
else
  local time = redis.call('TIME')
  local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[1], 'state', 'waiting', 'until', ms, 'attempt', known[3] - 1,
    'fence', string.format('%.0f', known[5] + 1))
  redis.call('ZADD', KEYS[2], ms, ARGV[1])
  redis.call('ZADD', KEYS[3], 0, ARGV[1])
end
redis.pcall('SPUBLISH', KEYS[1], 'free')
redis.pcall('SPUBLISH', KEYS[2], 'waiting')
return 1
