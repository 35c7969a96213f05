#!lua flags=no-writes
-- analytics/was_active: was this id active in one of those buckets?
--
-- KEYS[1]  numbers  see active.lua
-- KEYS[2..] buckets see active.lua
-- ARGV[1]  id       see active.lua
-- returns  1 or 0
-- retry:   safe (changes nothing)
-- cost:    O(buckets)
local id = ARGV[1]
if string.sub(id, 1, 1) == '=' then
  local number = redis.call('HGET', KEYS[1], string.sub(id, 2))
  if not number then return 0 end
  id = 4294967296 + number
end
local low = id % 65536
local chunk = string.format(':%.0f', (id - low) / 65536)
for place = 2, #KEYS do
  local name = KEYS[place] .. chunk
  local kind = redis.call('TYPE', name).ok
  if kind == 'string' and redis.call('GETBIT', name, low) == 1 then return 1 end
  if kind == 'set' and redis.call('SISMEMBER', name, low - 32768) == 1 then return 1 end
end
return 0
