#!lua flags=allow-oom
-- behind/release: give a partition back, and wake who waits for it.
--
-- KEYS[1]  lease
-- ARGV[1]  held   what it must hold, '<holder>:<fence>'
-- returns  1 given back, 0 it was not ours any more
-- retry:   safe
-- cost:    O(1)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('SPUBLISH', KEYS[1], 'free')
return 1
