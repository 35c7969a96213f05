#!lua flags=allow-oom
-- latch/arrive: count one party in, once.
--
-- KEYS[1]  latch    hash: n parties awaited, g generation, o the last generation that opened, m how many were missing
--                   when the generation before was reset, r the request that reset it. Also the channel of those
--                   who wait
-- KEYS[2]  parties  hash: the request of each that has arrived in this generation
-- KEYS[3]  before   the same of the generation before
-- ARGV[1]  party    the same one twice counts once
-- ARGV[2]  request  32 hexadecimal digits, new for every arrival, the same in its repetitions
-- ARGV[3]  count    parties awaited
-- ARGV[4]  ttl      milliseconds the latch outlives its last arrival
-- returns  {missing, generation}; {-1, count} if it was made for another count
-- retry:   by request id (one that was counted before a reset does not count again after it)
-- cost:    O(1)
local time = redis.call('TIME')
local count = redis.call('HGET', KEYS[1], 'n')
if count and count ~= ARGV[3] then return {-1, tonumber(count)} end
local generation = tonumber(redis.call('HGET', KEYS[1], 'g') or 0)
if count and redis.call('HGET', KEYS[3], ARGV[1]) == ARGV[2] then
  return {tonumber(redis.call('HGET', KEYS[1], 'm')), generation}
end
if not count then
  -- By the clock, so that it is a higher one than any there was before the ttl or a FLUSHALL.
  generation = time[1] * 1000000 + time[2]
  redis.call('DEL', KEYS[2], KEYS[3])
  redis.call('HSET', KEYS[1], 'n', ARGV[3], 'g', string.format('%.0f', generation))
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local missing = math.max(0, ARGV[3] - redis.call('HLEN', KEYS[2]))
if missing == 0 and tonumber(redis.call('HGET', KEYS[1], 'o') or 0) < generation then
  redis.call('HSET', KEYS[1], 'o', string.format('%.0f', generation))
  redis.pcall('SPUBLISH', KEYS[1], 'open')
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {missing, generation}
