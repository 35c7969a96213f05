#!lua flags=no-writes
-- streams/sum: what is in a partition.
--
-- KEYS[1]  stream
-- KEYS[2]  at      see publish.lua
-- KEYS[3]  outbox  see turn.lua
-- returns  {entries, bytes, ms since the first was added, delayed, outbox, names of groups}; bytes: -1 if that
--          may not be asked
-- retry:   safe
-- cost:    O(groups)
local delayed, outbox = redis.call('ZCARD', KEYS[2]), redis.call('XLEN', KEYS[3])
local entries = redis.call('XLEN', KEYS[1])
local names = {}
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, 0, delayed, outbox, names} end
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[1])
for _, about in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do names[#names + 1] = about[2] end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local age = first and math.max(0, now - string.match(first[1], '^%d+')) or 0
return {entries, type(bytes) == 'number' and bytes or -1, age, delayed, outbox, names}
