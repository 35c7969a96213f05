#!lua flags=allow-oom
-- rwlock/write: become the writer if nobody is in, and no reader has a turn before us; else say that we wait.
--
-- KEYS[1]  writer   '<token>:<fence>:<since>:<owner>', or whatever another program puts there
-- KEYS[2]  fence    the last writer's
-- KEYS[3]  readers  zset: until when, by token; server milliseconds
-- KEYS[4]  holders  hash: '<fence>:<since>:<owner>' of the readers, by token
-- KEYS[5]  intents  zset: until when a waiting writer is taken to be alive, by token; server milliseconds
-- KEYS[6]  claims   zset: the fence with which the turn of a waiting reader begins, by token
-- KEYS[7]  beats    zset: until when a waiting reader is taken to be alive, by token; server milliseconds
-- KEYS[8]  tomb     exists if this acquire was given up; it must not succeed any more
-- ARGV[1]  token    32 hexadecimal digits, new for every acquire, the same in its repetitions
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  owner    'host:pid:label'
-- ARGV[4]  history  milliseconds that the fence outlives its last use
-- ARGV[5]  patience milliseconds for which we are taken to be alive while we wait; 0: we do not wait
-- returns  {1, fence} ours; {0, pttl or -1, value} somebody is in: the writer, or the reader that ends first; '' if it
--          is the turn of readers who wait; {-1} given up
-- retry:   by request id (the token: who writes already is told so again)
-- cost:    O(log n + dead) where n read or wait
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(string.match(held, '^%x+:(%d+)'))}
end
if redis.call('EXISTS', KEYS[8]) == 1 then return {-1} end
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local today = string.format('%.0f', now)
-- A reader that has crashed is in until its own ttl has passed, whatever the others do.
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', today)) do
  redis.call('ZREM', KEYS[3], dead)
  redis.call('HDEL', KEYS[4], dead)
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', today)) do
  redis.call('ZREM', KEYS[6], dead)
  redis.call('ZREM', KEYS[7], dead)
end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
local reader = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local owed = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', string.format('%.0f', last), 'LIMIT', 0, 1)
if held or reader[1] or owed[1] then
  local patience = tonumber(ARGV[5])
  if patience > 0 then
    redis.call('ZADD', KEYS[5], string.format('%.0f', now + patience), ARGV[1])
    redis.call('PEXPIRE', KEYS[5], patience * 4)
  end
  if held then return {0, redis.call('PTTL', KEYS[1]), held} end
  if reader[1] then
    return {0, reader[2] - now, reader[1] .. ':' .. (redis.call('HGET', KEYS[4], reader[1]) or '')}
  end
  return {0, (redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')[2] or now) - now, ''}
end
redis.call('ZREM', KEYS[5], ARGV[1])
-- Not below the clock: after a FLUSHALL, or on a replica that missed the last one, it must not go back.
local fence = math.max(last + 1, micros)
local written = string.format('%.0f', fence)
redis.call('SET', KEYS[2], written, 'PX', ARGV[4])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. written .. ':' .. today .. ':' .. ARGV[3], 'PX', ARGV[2])
return {1, fence}
