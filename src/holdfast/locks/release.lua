#!lua flags=allow-oom
-- locks/release: give the lock back, and wake who waits for it.
--
-- KEYS[1]  lock     also the channel of those who wait
-- KEYS[2]  wanted   a request to give it back
-- KEYS[3]  queue    of a fair lock: tickets by token
-- ARGV[1]  token    of the lease
-- returns  1 given back, 0 it was not ours any more
-- retry:   never (the second time it is not ours any more; the caller repeats it, and knows)
-- cost:    O(log n) where n wait in a fair queue
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.pcall('SPUBLISH', KEYS[1], 'free')
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if first then redis.pcall('SPUBLISH', KEYS[3] .. ':w:' .. first, 'free') end
return 1
