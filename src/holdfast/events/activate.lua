#!lua flags=allow-oom
-- events/activate: make a version of a projection the active one, whatever position it has reached.
--
-- KEYS[1]  progress  see turn.lua; a channel as well
-- KEYS[2]  active
-- ARGV[1]  name      of the projection, escaped
-- ARGV[2]  version
-- returns  1 done; 0 there is no such version
-- retry:   safe (the active version stays the active one)
-- cost:    O(1)
local own, version = ARGV[1] .. ':' .. ARGV[2], tonumber(ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'at:' .. own) == 0 then return 0 end
local state = redis.call('HMGET', KEYS[2], ARGV[1], 'off:' .. ARGV[1])
local active, off = tonumber(state[1] or 0), tonumber(state[2] or 0)
if active == version then return 1 end
-- Side effects up to where either of both has come were had already.
local one = tonumber(redis.call('HGET', KEYS[1], 'at:' .. own))
local other = tonumber(redis.call('HGET', KEYS[1], 'at:' .. ARGV[1] .. ':' .. active) or 0)
local live = tonumber(redis.call('HGET', KEYS[2], 'live:' .. ARGV[1] .. ':' .. active) or 0)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2], 'live:' .. own, string.format('%.0f', math.max(one, other, live)))
if active > version then redis.call('HSET', KEYS[2], 'off:' .. ARGV[1], math.max(off, active)) end
redis.call('HDEL', KEYS[2], 'held:' .. ARGV[1], 'waits:' .. ARGV[1])
redis.pcall('SPUBLISH', KEYS[1], '')
return 1
