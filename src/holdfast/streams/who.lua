#!lua flags=no-writes
-- streams/who: the members of a group in a partition.
--
-- KEYS[1]  stream
-- KEYS[2]  members  see turn.lua
-- ARGV[1]  group
-- returns  {name, ms left of its lease, pending} of each; a consumer that is no member has -1 left
-- retry:   safe
-- cost:    O(consumers)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pending, found = {}, {}
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
for _, about in ipairs(consumers.err and {} or consumers) do pending[about[2]] = about[4] end
local members = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for at = 1, #members, 2 do
  local name = members[at]
  found[#found + 1] = {name, math.max(0, math.ceil(members[at + 1] - now)), pending[name] or 0}
  pending[name] = nil
end
for name, has in pairs(pending) do found[#found + 1] = {name, -1, has} end
return found
