-- concurrency/look: how many slots are in use.
--
-- KEYS[1]  slots    zset: until when, by token; server milliseconds
-- KEYS[2]  beats    zset: until when each waiter is taken to be alive; server milliseconds
-- ARGV[1]  limit    slots there are
-- returns  {1 if there is one else 0, in use, waiting, ms until there is one, ms until the last ends}
-- retry:   safe
-- cost:    O(log n) where n are out or wait
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local after = string.format('(%.0f', now)
local out = redis.call('ZCOUNT', KEYS[1], after, '+inf')
local waiting = redis.call('ZCOUNT', KEYS[2], after, '+inf')
local over = out + waiting - ARGV[1]
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if out == 0 then return {over < 0 and 1 or 0, out, waiting, 0, 0} end
if over < 0 then return {1, out, waiting, 0, last - now} end
local ends = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', over, 1)[2] or last
return {0, out, waiting, ends - now, last - now}
