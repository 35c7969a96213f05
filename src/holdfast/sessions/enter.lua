#!lua
-- sessions/enter: the generation of a user, which begins here if he has none, and his session in the index.
--
-- KEYS[1]  user      hash: g(eneration); k(ept), the handle of the session that the last revoke_all has left alive,
--                    kg its generation; n ms of the last entry; r(equest of the last revoke_all)
-- KEYS[2]  index     zset: handle -> ms at which that session ends
-- ARGV[1]  handle    of the session that is about to be made; '' none
-- ARGV[2]  ends      ms; '' `absolute` from now
-- ARGV[3]  absolute  milliseconds
-- ARGV[4]  most      handles in the index
-- returns  {generation, kept or '', its generation or ''}
-- retry:   safe
-- cost:    O(log(sessions of the user))
local DAY = 86400000
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local known = redis.call('HMGET', KEYS[1], 'g', 'k', 'kg')
if not known[1] then
  known[1] = string.format('%.0f', micros)
  redis.call('HSET', KEYS[1], 'g', known[1])
end
local ends = ARGV[2] == '' and now + ARGV[3] or tonumber(ARGV[2])
-- Longer than any session of his: without it they all are dead.
local gone = string.format('%.0f', math.max(redis.call('PEXPIRETIME', KEYS[1]), ends + DAY))
redis.call('PEXPIREAT', KEYS[1], gone)
if ARGV[1] ~= '' then
  redis.call('HSET', KEYS[1], 'n', string.format('%.0f', now))
  redis.call('ZADD', KEYS[2], string.format('%.0f', ends), ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[4])
  redis.call('PEXPIREAT', KEYS[2], gone)
end
return {known[1], known[2] or '', known[3] or ''}
