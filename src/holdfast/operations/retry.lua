-- operations/retry: have a dead operation tried again, with all its attempts and its checkpoints.
--
-- KEYS[1]  record  see begin.lua
-- KEYS[2]  due     a channel as well
-- KEYS[3]  names
-- KEYS[4]  dead
-- ARGV[1]  name
-- ARGV[2]  keep    milliseconds for which it is kept without a sign of life; 0 for ever
-- returns  1 it is due now; 0 it is not dead
-- retry:   safe
-- cost:    O(log(operations))
local known = redis.call('HMGET', KEYS[1], 'state', 'fence')
if known[1] ~= 'dead' then return 0 end
local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'state', 'waiting', 'until', ms, 'attempt', 0, 'changed', ms,
  'fence', string.format('%.0f', known[2] + 1)) -- whoever failed last has no say any more
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[2], ms, ARGV[1])
redis.call('ZADD', KEYS[3], 0, ARGV[1])
if tonumber(ARGV[2]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) else redis.call('PERSIST', KEYS[1]) end
redis.pcall('SPUBLISH', KEYS[2], 'waiting')
return 1
