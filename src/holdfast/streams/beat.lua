#!lua flags=allow-oom
-- streams/beat: renew a membership, as _wire/hub_keeping.py asks for it.
--
-- It reads nothing, on purpose: a key that was read is tracked, and each beat would wake all other members.
--
-- KEYS[1]  members  see turn.lua
-- ARGV[1]  member
-- ARGV[2]  lease    milliseconds
-- returns  1 renewed, 0 it is no member any more
-- retry:   safe
-- cost:    O(log(members))
if redis.call('ZADD', KEYS[1], 'XX', 'INCR', 0, ARGV[1]) == false then return 0 end
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2]
redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', ends), ARGV[1])
return 1
