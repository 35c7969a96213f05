#!lua flags=allow-oom
-- locks/abandon: undo an acquire whose outcome nobody will learn, whether it was executed or is still to be.
--
-- KEYS[1]  lock     also the channel of those who wait
-- KEYS[2]  tomb     keeps the acquire from succeeding later
-- KEYS[3]  queue    of a fair lock: tickets by token
-- KEYS[4]  beats    of a fair lock: until when a waiter is taken to be alive
-- ARGV[1]  token    of the acquire
-- ARGV[2]  keep     milliseconds for which a request may still be on its way
-- returns  1 it was ours and is free, 0 it was not
-- retry:   safe
-- cost:    O(log n) where n wait in a fair queue
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
local held = redis.call('GET', KEYS[1])
local ours = held and string.sub(held, 1, 33) == ARGV[1] .. ':'
if ours then
  redis.call('DEL', KEYS[1])
  redis.pcall('SPUBLISH', KEYS[1], 'free')
end
-- Whoever comes after us in the queue may be the first now, whoever has the lock.
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if first then redis.pcall('SPUBLISH', KEYS[3] .. ':w:' .. first, 'free') end
return ours and 1 or 0
