#!lua flags=allow-oom
-- sessions/revoke_all: another generation for a user: whatever was made under the last one is dead.
--
-- KEYS[1]  user      see enter.lua
-- KEYS[2]  index     see enter.lua
-- ARGV[1]  request   names this request
-- ARGV[2]  keep      handle of the session that is to live on; '' none
-- ARGV[3]  carried   generation that this session carries
-- ARGV[4]  absolute  milliseconds
-- returns  the generation
-- retry:   by request id
-- cost:    O(1)
local DAY = 86400000
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local known = redis.call('HMGET', KEYS[1], 'g', 'k', 'kg', 'r')
if known[4] == ARGV[1] then return known[1] end
local generation = string.format('%.0f', math.max(micros, (known[1] or 0) + 1))
local lives = ARGV[2] ~= '' and known[1]
  and (ARGV[3] == known[1] or (ARGV[2] == known[2] and ARGV[3] == known[3]))
local score = lives and redis.call('ZSCORE', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], 'g', generation, 'r', ARGV[1])
redis.call('HDEL', KEYS[1], 'k', 'kg')
if lives then redis.call('HSET', KEYS[1], 'k', ARGV[2], 'kg', ARGV[3]) end
local gone = math.max(redis.call('PEXPIRETIME', KEYS[1]), math.floor(micros / 1000) + ARGV[4] + DAY)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', gone))
redis.call('UNLINK', KEYS[2])
if score then
  redis.call('ZADD', KEYS[2], score, ARGV[2])
  redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', gone))
end
return generation
