#!lua flags=allow-oom
-- streams/cancel: take back an entry that is not due yet.
--
-- KEYS[1]  at     see publish.lua
-- KEYS[2]  later  see publish.lua
-- ARGV[1]  token  of the entry
-- returns  1 taken back, 0 it does not wait here
-- retry:   safe (a repeated request finds it gone, and answers 0)
-- cost:    O(log(entries that wait))
local packed = redis.call('HGET', KEYS[2], ARGV[1])
local dedup = packed and cmsgpack.unpack(packed)[1] or ''
if dedup ~= '' and redis.call('GET', dedup) == '~' .. ARGV[1] then redis.call('DEL', dedup) end
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
