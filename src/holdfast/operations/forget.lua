#!lua flags=allow-oom
-- operations/forget: remove an operation that is done or dead.
--
-- KEYS[1]  record  see begin.lua
-- KEYS[2]  dead
-- KEYS[3]  done
-- ARGV[1]  name
-- returns  1 removed; 0 there is none, or it is pending
-- retry:   safe
-- cost:    O(log(operations))
local state = redis.call('HGET', KEYS[1], 'state')
if state ~= 'done' and state ~= 'dead' then return 0 end
redis.call('UNLINK', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
