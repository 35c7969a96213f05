#!lua flags=allow-oom
-- semaphore/break: take all permits away from whoever has them, and wake who waits.
--
-- KEYS[1]  alarm    those who renew a permit are told when it changes
-- KEYS[2]  permits  zset: until when, by token; server milliseconds. Also the channel of those who wait
-- KEYS[3]  holders  hash, by token
-- returns  how many were out
-- retry:   never (others may have them by then)
-- cost:    O(n) where n are out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local out = redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf')
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('SET', KEYS[1], 'broken', 'PX', 1)
redis.call('DEL', KEYS[1])
redis.pcall('SPUBLISH', KEYS[2], 'free')
return out
