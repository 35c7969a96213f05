#!lua flags=allow-oom
-- cache/abandon: give a lease back unused, and wake whoever waits for it.
--
-- KEYS[1]  lease
-- ARGV[1]  token  the lease is removed only if it holds this
-- returns  1 removed, 0 it was not ours any more
-- retry:   safe
-- cost:    O(1)
local ours = redis.call('GET', KEYS[1]) == ARGV[1]
if ours then redis.call('DEL', KEYS[1]) end
redis.pcall('SPUBLISH', KEYS[1], 'abandoned')
return ours and 1 or 0
