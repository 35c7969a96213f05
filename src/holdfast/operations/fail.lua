#!lua flags=allow-oom
-- operations/fail: an attempt has failed. Let the operation rest until the next one, or bury it.
--
-- KEYS[1]  record   see begin.lua; a channel as well, told when it is free or dead
-- KEYS[2]  due      a channel as well, told when there is something to recover sooner than was known
-- KEYS[3]  names
-- KEYS[4]  dead
-- ARGV[1]  name
-- ARGV[2]  fence    of the attempt that asks
-- ARGV[3]  error    text
-- ARGV[4]  again    '1': there may be another attempt
-- ARGV[5]  most     attempts
-- ARGV[6]  first    rest, milliseconds; doubled with each attempt
-- ARGV[7]  longest  rest, milliseconds
-- ARGV[8]  dice     0 to 1: the part of the rest that is rested
-- ARGV[9]  keep     milliseconds for which the record stays; 0 for ever
-- returns  {1, rest in ms} it waits; {2, 0} it is dead; {0, 0} there is no such operation; {-1, 0} somebody
--          else's, or done
-- retry:   safe (by the fence: who has told of its failure is answered so again)
-- cost:    O(log(operations))
local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'attempt')
if not known[1] then return {0, 0} end
if known[2] ~= ARGV[2] or known[1] == 'done' then return {-1, 0} end
if known[1] == 'waiting' then return {1, 0} end
if known[1] == 'dead' then return {2, 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ms, attempt, keep = string.format('%.0f', now), tonumber(known[3]), tonumber(ARGV[9])
redis.call('HSET', KEYS[1], 'error', ARGV[3], 'changed', ms,
  'e:' .. attempt, string.format('%013.0f', now) .. ARGV[3])
if keep > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[9]) else redis.call('PERSIST', KEYS[1]) end
if ARGV[4] == '1' and attempt < tonumber(ARGV[5]) then
  local full = math.min(tonumber(ARGV[7]), ARGV[6] * 2 ^ math.min(attempt - 1, 40))
  local rest = math.max(1, math.floor(full * ARGV[8])) -- not due in the sweep that is under way
  local at = string.format('%.0f', now + rest)
  redis.call('HSET', KEYS[1], 'state', 'waiting', 'until', at)
  redis.call('ZADD', KEYS[2], at, ARGV[1])
  redis.call('ZADD', KEYS[3], 0, ARGV[1])
  redis.pcall('SPUBLISH', KEYS[1], 'free')
  redis.pcall('SPUBLISH', KEYS[2], 'waiting')
  return {1, rest}
end
redis.call('HSET', KEYS[1], 'state', 'dead')
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], ms, ARGV[1])
if keep > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now - keep)) end
redis.pcall('SPUBLISH', KEYS[1], 'dead')
return {2, 0}
