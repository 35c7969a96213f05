-- rwlock/look: who is in and who waits.
--
-- KEYS[1]  writer
-- KEYS[2]  fence    the last writer's
-- KEYS[3]  readers  zset: until when, by token; server milliseconds
-- KEYS[4]  holders  hash: '<fence>:<since>:<owner>' of the readers, by token
-- KEYS[5]  intents  zset: until when a waiting writer is taken to be alive, by token; server milliseconds
-- KEYS[6]  beats    zset: until when a waiting reader is taken to be alive, by token; server milliseconds
-- ARGV[1]  most     readers to tell of
-- returns  {value or false, pttl, last fence or false, readers, {value, ms left, ...} of them, writers who wait,
--          readers who wait, server ms}
-- retry:   safe
-- cost:    O(log n + most)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local after = string.format('(%.0f', now)
local told = {}
local found = redis.call('ZRANGEBYSCORE', KEYS[3], after, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for place = 1, #found, 2 do
  told[#told + 1] = found[place] .. ':' .. (redis.call('HGET', KEYS[4], found[place]) or '')
  told[#told + 1] = found[place + 1] - now
end
return {
  redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2]),
  redis.call('ZCOUNT', KEYS[3], after, '+inf'), told, redis.call('ZCOUNT', KEYS[5], after, '+inf'),
  redis.call('ZCOUNT', KEYS[6], after, '+inf'), now,
}
