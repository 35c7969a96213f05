#!lua flags=allow-oom
-- locks/break: take the lock away from whoever has it, and wake who waits for it.
--
-- KEYS[1]  lock     also the channel of those who wait
-- KEYS[2]  wanted   a request to give it back
-- KEYS[3]  queue    of a fair lock
-- ARGV[1]  value    only if this is what stands there; '' for whatever
-- returns  1 taken away, 0 nobody had it, or somebody else
-- retry:   never (somebody else may have it by then)
-- cost:    O(log n) where n wait in a fair queue
local held = redis.call('GET', KEYS[1])
if not held or (ARGV[1] ~= '' and held ~= ARGV[1]) then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
redis.pcall('SPUBLISH', KEYS[1], 'free')
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if first then redis.pcall('SPUBLISH', KEYS[3] .. ':w:' .. first, 'free') end
return 1
