#!lua flags=allow-oom
-- semaphore/abandon: undo an acquire whose outcome nobody will learn, whether it was executed or is still to be.
--
-- KEYS[1]  permits  zset, by token. Also the channel of those who wait
-- KEYS[2]  holders  hash, by token
-- KEYS[3]  tomb     keeps the acquire from succeeding later
-- ARGV[1]  token    of the acquire
-- ARGV[2]  keep     milliseconds for which a request may still be on its way
-- returns  1 it was ours and is free, 0 it was not
-- retry:   safe
-- cost:    O(log n) where n are out
redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
redis.call('HDEL', KEYS[2], ARGV[1])
local ours = redis.call('ZREM', KEYS[1], ARGV[1])
if ours == 1 then redis.pcall('SPUBLISH', KEYS[1], 'free') end
return ours
