#!lua flags=allow-oom
-- streams/begin: make a group where it is not there yet, so that retention waits for it from now on.
--
-- KEYS[1]  stream
-- KEYS[2]  saved  see turn.lua
-- ARGV[1]  group
-- ARGV[2]  start  where a new group begins: '0' or '$'
-- returns  1 it was made, 0 it was there
-- retry:   safe
-- cost:    O(1)
local place = '0' -- all that comes into a stream that is lost, or new, comes later
if redis.call('EXISTS', KEYS[1]) == 1 then place = redis.call('GET', KEYS[2]) or ARGV[2] end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], place, 'MKSTREAM')
if not made.err then return 1 end
return string.find(made.err, 'BUSYGROUP', 1, true) and 0 or made
