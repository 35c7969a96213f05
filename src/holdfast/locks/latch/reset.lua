#!lua flags=allow-oom
-- latch/reset: close it again, for another round.
--
-- KEYS[1]  latch    see arrive.lua
-- KEYS[2]  parties  hash: the request of each that has arrived in this generation
-- KEYS[3]  before   the same of the generation before
-- ARGV[1]  request  32 hexadecimal digits, new for every reset, the same in its repetitions
-- ARGV[2]  ttl      milliseconds the latch outlives this
-- returns  the generation that begins; 0 nobody has arrived yet
-- retry:   by request id (the last reset is remembered)
-- cost:    O(1), and the parties are freed
local generation = redis.call('HGET', KEYS[1], 'g')
if not generation then return 0 end
if redis.call('HGET', KEYS[1], 'r') == ARGV[1] then return tonumber(generation) end
local time = redis.call('TIME')
local missing = math.max(0, redis.call('HGET', KEYS[1], 'n') - redis.call('HLEN', KEYS[2]))
local begins = math.max(generation + 1, time[1] * 1000000 + time[2])
redis.call('HSET', KEYS[1], 'g', string.format('%.0f', begins), 'm', missing, 'r', ARGV[1])
-- A round in which nobody arrived does not make us forget who had in the one before.
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[3])
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return begins
