#!lua flags=allow-oom
-- semaphore/release: give a permit back, and wake who waits for one.
--
-- KEYS[1]  permits  zset: until when, by token; server milliseconds. Also the channel of those who wait
-- KEYS[2]  holders  hash, by token
-- ARGV[1]  token    of the lease
-- returns  1 given back, 0 it was not ours any more
-- retry:   never (the second time it is not ours any more; the caller repeats it, and knows)
-- cost:    O(log n) where n are out
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not mine then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.pcall('SPUBLISH', KEYS[1], 'free')
local time = redis.call('TIME')
return tonumber(mine) > time[1] * 1000 + math.floor(time[2] / 1000) and 1 or 0
