#!lua flags=allow-oom
-- streams/share: say that one consumes, and learn how many do.
--
-- KEYS[1]  consumers  zset: member -> server ms until which it counts; a channel that tells of changes
-- ARGV[1]  member
-- ARGV[2]  lease      milliseconds; 0: it consumes no more
-- returns  {rank, count}: how many come before it by name, and how many there are, it included
-- retry:   safe
-- cost:    O(consumers)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('ZCARD', KEYS[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
end
local names, rank = redis.call('ZRANGE', KEYS[1], 0, -1), 0
if #names ~= before then redis.pcall('SPUBLISH', KEYS[1], '') end
for _, name in ipairs(names) do
  if name < ARGV[1] then rank = rank + 1 end
end
return {rank, #names}
