#!lua flags=allow-oom
-- streams/drop: delete a group, with its dead letters and all else that is its.
--
-- KEYS[1]  stream
-- KEYS[2]  members  see turn.lua
-- KEYS[3..] others  what else is the group's
-- ARGV[1]  group
-- ARGV[2]  force    '1': although members are at work
-- returns  names of members at work; with any, nothing was done
-- retry:   safe (what is gone stays gone, unless somebody makes it anew)
-- cost:    O(pending + dead letters)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] ~= '1' then
  local alive = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf')
  if alive[1] then return alive end
end
redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1]) -- it fails where there is no stream
redis.call('UNLINK', unpack(KEYS, 2))
return {}
