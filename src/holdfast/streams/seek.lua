#!lua flags=allow-oom
-- streams/seek: have a group go on from another place; what it had pending is forgotten.
--
-- What lies behind the place is delivered (again), as the first time; what lies before it is not.
--
-- KEYS[1]  stream
-- KEYS[2]  members  see turn.lua
-- KEYS[3]  retries  see turn.lua
-- KEYS[4]  errors   see turn.lua
-- KEYS[5]  saved    see turn.lua
-- KEYS[6]  turns    see turn.lua; '~seek' -> request and answer of the last one
-- KEYS[7]  bell     see turn.lua
-- ARGV[1]  group
-- ARGV[2]  place    id behind which it goes on; '$' the last one
-- ARGV[3]  force    '1': although members are at work; theirs does not count any more
-- ARGV[4]  request  random, new for every request; the same when it is repeated
-- returns  {pending that was forgotten, names of members at work}: with any of these, nothing was done
-- retry:   by request id
-- cost:    O(pending)
local known = redis.call('HGET', KEYS[6], '~seek')
if known and string.sub(known, 1, #ARGV[4]) == ARGV[4] then
  return {tonumber(string.sub(known, #ARGV[4] + 2)), {}}
end
local stream, group, place = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '1' then
  local alive = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf')
  if alive[1] then return {0, alive} end
  redis.call('DEL', KEYS[6]) -- of those who were; who is at work keeps his numbers, or a late turn would count
end
local pending = redis.pcall('XPENDING', stream, group)
local forgotten = pending.err and 0 or pending[1]
if not pending.err then redis.call('XGROUP', 'DESTROY', stream, group) end
redis.call('XGROUP', 'CREATE', stream, group, place, 'MKSTREAM')
for _, about in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  if about[2] == group then redis.call('SET', KEYS[5], about[8]) end
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4]) -- so that whoever is at work finds out that it is not his any more
redis.call('HSET', KEYS[6], '~seek', ARGV[4] .. ':' .. forgotten)
redis.call('DEL', KEYS[7])
redis.pcall('SPUBLISH', stream, '')
return {forgotten, {}}
