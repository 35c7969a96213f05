-- behind/replay: have a dead letter tried again, as if it had been put now.
--
-- KEYS[1]  pending  see put.lua
-- KEYS[2]  order
-- KEYS[3]  state
-- KEYS[4]  dead     see fail.lua
-- KEYS[5]  entry
-- KEYS[6]  fill     the right to fill the entry
-- ARGV[1]  tag
-- returns  1 replayed; 0 there is no such dead letter (any more)
-- retry:   safe
-- cost:    O(log(records waiting) + size of the record)
local buried = redis.call('HGET', KEYS[4], ARGV[1])
if not buried then return 0 end
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local seq = math.max(tonumber(redis.call('HGET', KEYS[3], 'seq') or 0) + 1, micros)
local written = string.format('%016.0f', seq)
local record = string.sub(buried, 24 + tonumber(string.sub(buried, 19, 23)))
redis.call('HSET', KEYS[3], 'seq', written)
-- Nothing of this key waits: a put would have removed the dead letter.
redis.call('HSET', KEYS[1], ARGV[1], written .. string.sub(record, 17))
redis.call('ZADD', KEYS[2], written, ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('UNLINK', KEYS[5], KEYS[6]) -- readers saw what the source has; now they find what waits
redis.pcall('SPUBLISH', KEYS[6], 'replayed')
redis.pcall('SPUBLISH', KEYS[1], 'replayed')
return 1
