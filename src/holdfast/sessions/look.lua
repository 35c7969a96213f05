#!lua flags=no-writes
-- sessions/look: what is shown of a session.
--
-- KEYS[1]  session  see load.lua
-- returns  {created, last, ends, idle, generation, user, about, key or false}, as they are stored; {} if it is dead
-- retry:   safe
-- cost:    O(1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'c', 'l', 'e', 'i', 'g', 'u', 'a', 'k')
if not known[3] or now >= tonumber(known[3]) or now >= known[2] + known[4] then return {} end
return known
