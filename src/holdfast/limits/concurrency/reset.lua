#!lua flags=allow-oom
-- concurrency/reset: take all slots away from whoever has them, and wake who waits.
--
-- KEYS[1]  alarm    those who renew a slot are told when it changes
-- KEYS[2]  slots    zset: until when, by token; server milliseconds
-- KEYS[3]  queue    zset: who waits, by token
-- returns  how many were in use
-- retry:   never (others may have them by then)
-- cost:    O(n) where n are out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local out = redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf')
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[1], 'broken', 'PX', 1)
redis.call('DEL', KEYS[1])
for place, waiter in ipairs(redis.call('ZRANGE', KEYS[3], 0, 15)) do
  if place - 1 < tonumber(string.match(waiter, '%d+$')) then
    redis.pcall('SPUBLISH', KEYS[3] .. ':w:' .. waiter, 'free')
  end
end
return out
