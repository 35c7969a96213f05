#!lua flags=allow-oom
-- behind/hasten: what waits in a partition is to be applied without resting any longer.
--
-- KEYS[1]  pending
-- KEYS[2]  order
-- KEYS[3]  state    hasten: up to this number nothing rests
-- returns  the number of the last put, as text; '' if nothing waits
-- retry:   safe
-- cost:    O(1)
if redis.call('ZCARD', KEYS[2]) == 0 then return '' end
local last = redis.call('HGET', KEYS[3], 'seq') or ''
redis.call('HSET', KEYS[3], 'hasten', last)
redis.pcall('SPUBLISH', KEYS[1], 'flush')
return last
