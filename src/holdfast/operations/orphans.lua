#!lua flags=allow-oom
-- operations/orphans: end the leases that an earlier life of this slot left behind.
--
-- KEYS[1]  due      see begin.lua
-- KEYS[2]  records  what the key of every record starts with; theirs are made of it, and share its slot
-- ARGV[1]  slot     a name that no two living processes share
-- ARGV[2]  life     of the process that asks: another value in the same slot is an earlier one
-- returns  how many
-- retry:   safe
-- cost:    O(operations pending)
local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local ended = 0
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = KEYS[2] .. name
  local known = redis.call('HMGET', key, 'state', 'slot', 'life')
  if known[1] == 'running' and known[2] == ARGV[1] and known[3] ~= ARGV[2] then
    redis.call('HSET', key, 'until', ms)
    redis.call('ZADD', KEYS[1], ms, name)
    ended = ended + 1
  end
end
return ended
