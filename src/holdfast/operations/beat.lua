#!lua flags=allow-oom
-- operations/beat: renew the lease of an operation that is being worked on.
--
-- KEYS[1]  record  see begin.lua
-- KEYS[2]  due
-- KEYS[3]  names
-- ARGV[1]  name
-- ARGV[2]  fence   of the attempt that asks
-- ARGV[3]  lease   milliseconds
-- ARGV[4]  keep    milliseconds for which the record stays without a sign of life; 0 for ever
-- returns  1 still ours; 0 there is no such operation; -1 somebody else's, or settled
-- retry:   safe
-- cost:    O(log(operations pending))
local known = redis.call('HMGET', KEYS[1], 'state', 'fence')
if not known[1] then return 0 end
if known[1] ~= 'running' or known[2] ~= ARGV[2] then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + ARGV[3])
redis.call('HSET', KEYS[1], 'until', ends, 'lease', ARGV[3])
redis.call('ZADD', KEYS[2], ends, ARGV[1]) -- not XX: it heals an index that was lost
redis.call('ZADD', KEYS[3], 0, ARGV[1])
if tonumber(ARGV[4]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
redis.call('HGET', KEYS[1], 'fence') -- what is read last is tracked: a change by others is told at once
return 1
