#!lua flags=allow-oom
-- semaphore/take: take a permit, if fewer than the limit are out.
--
-- KEYS[1]  permits  zset: until when, by token; server milliseconds
-- KEYS[2]  fence    the last one given
-- KEYS[3]  holders  hash: '<fence>:<since>:<owner>', by token
-- KEYS[4]  limit    the last one granted under, for whoever looks
-- KEYS[5]  tomb     exists if this acquire was given up; it must not succeed any more
-- ARGV[1]  token    32 hexadecimal digits, new for every acquire, the same in its repetitions
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  owner    'host:pid:label'
-- ARGV[4]  history  milliseconds that the fence outlives its last grant
-- ARGV[5]  limit    permits there are, as the caller has it
-- returns  {1, fence, left} ours, and so many are left; {0, pttl, value} none left: pttl until one is, the value of
--          the next to end; {-1} given up
-- retry:   by request id (the token: who has a permit already is told so again)
-- cost:    O(log n + dead) where n are out
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local today = string.format('%.0f', now)
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
local fence
if mine and tonumber(mine) > now then
  fence = string.match(redis.call('HGET', KEYS[3], ARGV[1]) or '0', '^%d+')
else
  if redis.call('EXISTS', KEYS[5]) == 1 then return {-1} end
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', today)) do
    redis.call('ZREM', KEYS[1], dead)
    redis.call('HDEL', KEYS[3], dead)
  end
  -- If the limit was lowered, more than it may be out: then as many more have to end first.
  local over = redis.call('ZCARD', KEYS[1]) - ARGV[5]
  if over >= 0 then
    local next_free = redis.call('ZRANGE', KEYS[1], over, over, 'WITHSCORES')
    local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
    return {0, next_free[2] - now, first .. ':' .. (redis.call('HGET', KEYS[3], first) or '')}
  end
  -- Not below the clock: after a FLUSHALL, or on a replica that missed the last one, it must not go back.
  fence = string.format('%.0f', math.max(tonumber(redis.call('GET', KEYS[2]) or 0) + 1, micros))
  redis.call('SET', KEYS[2], fence, 'PX', ARGV[4])
  redis.call('SET', KEYS[4], ARGV[5], 'PX', ARGV[4])
  redis.call('HSET', KEYS[3], ARGV[1], fence .. ':' .. today .. ':' .. ARGV[3])
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local latest = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], latest)
redis.call('PEXPIREAT', KEYS[3], latest)
return {1, tonumber(fence), math.max(0, ARGV[5] - redis.call('ZCARD', KEYS[1]))}
