#!lua flags=allow-oom
-- rwlock/abandon: undo an acquire whose outcome nobody will learn, whether it was executed or is still to be, and
-- give up the place of one that waits.
--
-- KEYS[1]  writer   for the channels see release.lua
-- KEYS[2]  readers  zset
-- KEYS[3]  holders  hash, of the readers
-- KEYS[4]  intents  zset, of writers who wait
-- KEYS[5]  claims   zset, of readers who wait
-- KEYS[6]  beats    zset, of readers who wait
-- KEYS[7]  tomb     keeps the acquire from succeeding later
-- ARGV[1]  token    of the acquire
-- ARGV[2]  keep     milliseconds for which a request may still be on its way
-- returns  1 it was ours and is free, 0 it was not
-- retry:   safe
-- cost:    O(log n) where n read or wait
redis.call('SET', KEYS[7], '1', 'PX', ARGV[2])
local intended, claimed = redis.call('ZREM', KEYS[4], ARGV[1]), redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('ZREM', KEYS[6], ARGV[1])
local reader, writer = redis.call('ZREM', KEYS[2], ARGV[1]), 0
redis.call('HDEL', KEYS[3], ARGV[1])
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then writer = redis.call('DEL', KEYS[1]) end
-- Readers may have waited for our intent, writers for our claim.
if writer + intended > 0 then redis.pcall('SPUBLISH', KEYS[1] .. ':w:read', 'free') end
if writer + reader + claimed > 0 then redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free') end
return reader + writer
