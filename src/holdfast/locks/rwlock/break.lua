#!lua flags=allow-oom
-- rwlock/break: take the lock away from the writer, or from all readers, and wake who waits for it.
--
-- KEYS[1]  writer   for the channels see release.lua
-- KEYS[2]  readers  zset: until when, by token; server milliseconds
-- KEYS[3]  holders  hash, of the readers
-- returns  how many had it
-- retry:   never (others may have it by then)
-- cost:    O(n) where n read
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local had = redis.call('EXISTS', KEYS[1]) + redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf')
-- Readers are tracked by the key of the writer: it has to change for them to hear of it at once.
redis.call('SET', KEYS[1], 'broken', 'PX', 1)
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.pcall('SPUBLISH', KEYS[1] .. ':w:read', 'free')
redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free')
return had
