#!lua flags=allow-oom
-- concurrency/free: give a slot or a place in the queue back, and wake those whose turn it is.
--
-- KEYS[1]  slots    zset: until when, by token; server milliseconds
-- KEYS[2]  queue    zset: who waits, by token
-- KEYS[3]  beats    zset: until when each of them is taken to be alive
-- KEYS[4]  tomb     keeps the attempt from succeeding later
-- ARGV[1]  token    of the attempt
-- ARGV[2]  keep     milliseconds for which a request of it may still be on its way; 0: none is
-- returns  1 it had a slot, 0 it had none, or not any more
-- retry:   never (the second time it has none any more; the caller repeats it, and knows)
-- cost:    O(log n) where n are out or wait
if ARGV[2] ~= '0' then redis.call('SET', KEYS[4], '1', 'PX', ARGV[2]) end
local ends = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0)
local left = redis.call('ZREM', KEYS[1], ARGV[1]) + redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if left > 0 then
  local out = redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')
  for place, waiter in ipairs(redis.call('ZRANGE', KEYS[2], 0, 15)) do
    if out + place - 1 < tonumber(string.match(waiter, '%d+$')) then
      redis.pcall('SPUBLISH', KEYS[2] .. ':w:' .. waiter, 'free')
    end
  end
end
return ends > now and 1 or 0
