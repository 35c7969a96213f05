#!lua flags=allow-oom
-- events/archive: forget the events of a stream that its snapshot has in it.
--
-- KEYS[1]  events    see append.lua
-- KEYS[2]  snapshot  see snapshot.lua
-- KEYS[3]  progress  see turn.lua
-- ARGV[1]  schema    version of the snapshot's type that is written now: another one may not be the only copy
-- returns  {1, events} so many are gone; {0, ''} there is no such snapshot; {2, projection} has not seen them
-- retry:   safe (what is gone is gone)
-- cost:    O(events that go + projections)
local known = redis.call('HMGET', KEYS[2], 'version', 'schema')
if not known[1] or known[2] ~= ARGV[1] then return {0, ''} end
local id = string.format('%.0f-0', known[1])
local found = redis.call('XREVRANGE', KEYS[1], id, '-', 'COUNT', 1)[1]
if not found then return {1, 0} end
local position = 0
for field = 1, #found[2], 2 do
  if found[2][field] == 'position' then position = tonumber(found[2][field + 1]) end
end
local progress = redis.call('HGETALL', KEYS[3])
for field = 1, #progress, 2 do
  local name = string.match(progress[field], '^at:(.*)$')
  if name and tonumber(progress[field + 1]) < position then return {2, name} end
end
return {1, redis.call('XTRIM', KEYS[1], 'MINID', string.format('%.0f-0', known[1] + 1))}
