#!lua flags=allow-oom
-- events/release: somebody else may run this version of a projection now.
--
-- KEYS[1]  lease     see turn.lua
-- KEYS[2]  progress
-- KEYS[3]  log       a channel: who waits for the lease hears it there
-- ARGV[1]  token     of the runner
-- ARGV[2]  own       <projection>:<version>
-- ARGV[3]  error     why the runner stops; '' it was told to
-- returns  1 it was ours; 0 it was not
-- retry:   safe (a lease that is gone stays so)
-- cost:    O(1)
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[2], 'error:' .. ARGV[2], ARGV[3]) end
redis.pcall('SPUBLISH', KEYS[3], '')
return 1
