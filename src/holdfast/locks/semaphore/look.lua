-- semaphore/look: who has a permit.
--
-- KEYS[1]  permits  zset: until when, by token; server milliseconds
-- KEYS[2]  holders  hash: '<fence>:<since>:<owner>', by token
-- KEYS[3]  limit    the last one granted under
-- ARGV[1]  most     holders to tell of
-- returns  {how many are out, {value, ms left, ...} of them, limit or false, server ms}
-- retry:   safe
-- cost:    O(log n + most) where n are out
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local after = string.format('(%.0f', now)
local told = {}
local found = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for place = 1, #found, 2 do
  told[#told + 1] = found[place] .. ':' .. (redis.call('HGET', KEYS[2], found[place]) or '')
  told[#told + 1] = found[place + 1] - now
end
return {redis.call('ZCOUNT', KEYS[1], after, '+inf'), told, redis.call('GET', KEYS[3]), now}
