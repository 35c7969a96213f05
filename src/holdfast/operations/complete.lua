#!lua flags=allow-oom
-- operations/complete: an operation is done; keep its result for a while.
--
-- KEYS[1]  record  see begin.lua; a channel as well, told when it is settled
-- KEYS[2]  due
-- KEYS[3]  names
-- KEYS[4]  done    zset: name -> ms
-- ARGV[1]  name
-- ARGV[2]  fence   of the attempt that asks
-- ARGV[3]  result
-- ARGV[4]  ttl     milliseconds for which the record stays
-- returns  1 done; 0 there is no such operation; -1 somebody else's, or settled otherwise
-- retry:   safe (by the fence: who has completed it is told so again)
-- cost:    O(log(operations) + size of the result)
local known = redis.call('HMGET', KEYS[1], 'state', 'fence')
if not known[1] then return 0 end
if known[2] ~= ARGV[2] then return -1 end
if known[1] == 'done' then return 1 end
if known[1] ~= 'running' then return -1 end
-- Its lease may have ended: as long as nobody has taken it over, it is still the only one at it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'state', 'done', 'result', ARGV[3], 'changed', ms)
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now - ARGV[4]))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.pcall('SPUBLISH', KEYS[1], 'done')
return 1
