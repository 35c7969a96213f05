#!lua flags=allow-oom
-- concurrency/keep: have a slot for its whole ttl again, if it is ours.
--
-- KEYS[1]  alarm    touched by reset.lua, and nobody else
-- KEYS[2]  slots    zset: until when, by token; server milliseconds
-- ARGV[1]  token    of the slot
-- ARGV[2]  ttl      milliseconds
-- returns  1 ours, 0 not any more
-- retry:   safe
-- cost:    O(log n) where n are out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = redis.call('ZSCORE', KEYS[2], ARGV[1])
-- Past its end it is not ours, even if nobody has cleared it away yet.
if not mine or tonumber(mine) <= now then return 0 end
local until_ms = string.format('%.0f', now + ARGV[2])
-- Not read after this: what is read and not written any more the server tracks, and this key changes all the time.
redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
redis.call('PEXPIREAT', KEYS[2], until_ms, 'GT')
-- Read last, and found missing, so that the server tracks it: it changes when it concerns us.
redis.call('GET', KEYS[1])
return 1
