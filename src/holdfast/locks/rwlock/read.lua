#!lua flags=allow-oom
-- rwlock/read: take a place among the readers, unless there is a writer, or one waits who came before us.
--
-- A reader who is refused has a claim: once the writer who is in now, or else the next one, has been in, it goes before
-- any writer that waits. So neither kind can starve the other (phase-fair: Brandenburg and Anderson, ECRTS 2009).
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
-- ARGV[6]  inside   token of a place among the readers that the same caller has, or ''. He must not wait for a writer
--                   who waits for him
-- returns  {1, fence} ours, the fence is the last writer's; {0, pttl or -1, value} a writer is in, '' if one waits;
--          {-1} given up
-- retry:   by request id (the token: who reads already is told so again)
-- cost:    O(log n + dead) where n read or wait
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local today = string.format('%.0f', now)
local until_ms = string.format('%.0f', now + ARGV[2])
local mine = redis.call('ZSCORE', KEYS[3], ARGV[1])
if mine and tonumber(mine) > now then
  redis.call('ZADD', KEYS[3], until_ms, ARGV[1])
  local latest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', KEYS[3], latest)
  redis.call('PEXPIREAT', KEYS[4], latest)
  return {1, tonumber(string.match(redis.call('HGET', KEYS[4], ARGV[1]) or '0', '^%d+'))}
end
if redis.call('EXISTS', KEYS[8]) == 1 then return {-1} end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', today)) do
  redis.call('ZREM', KEYS[6], dead)
  redis.call('ZREM', KEYS[7], dead)
end
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', today)
local held = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2])
local turn = redis.call('ZSCORE', KEYS[6], ARGV[1])
local owed = turn and tonumber(turn) <= tonumber(last or 0)
if not owed and ARGV[6] ~= '' then owed = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[6]) or 0) > now end
if held or (not owed and redis.call('ZCARD', KEYS[5]) > 0) then
  local patience = tonumber(ARGV[5])
  if patience > 0 then
    local begins = string.format('%.0f', (last or 0) + (held and 0 or 1))
    redis.call('ZADD', KEYS[6], held and string.match(held, '^%x+:(%d+):') or begins, ARGV[1])
    redis.call('ZADD', KEYS[7], string.format('%.0f', now + patience), ARGV[1])
    redis.call('PEXPIRE', KEYS[6], patience * 4)
    redis.call('PEXPIRE', KEYS[7], patience * 4)
  end
  if held then return {0, redis.call('PTTL', KEYS[1]), held} end
  return {0, redis.call('ZRANGE', KEYS[5], 0, 0, 'WITHSCORES')[2] - now, ''}
end
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
-- What reads after a FLUSHALL must not have a lower fence than what was written before it.
if not last then last = string.format('%.0f', micros) end
redis.call('SET', KEYS[2], last, 'PX', ARGV[4])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', today)) do
  redis.call('ZREM', KEYS[3], dead)
  redis.call('HDEL', KEYS[4], dead)
end
redis.call('ZADD', KEYS[3], until_ms, ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], last .. ':' .. today .. ':' .. ARGV[3])
local latest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[3], latest)
redis.call('PEXPIREAT', KEYS[4], latest)
return {1, tonumber(last)}
