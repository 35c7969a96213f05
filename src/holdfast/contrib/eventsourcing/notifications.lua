#!lua flags=no-writes
-- eventsourcing/notifications: a part of the log, about a megabyte or ten thousand looked at.
--
-- KEYS[1]  log     see append.lua
-- ARGV[1]  from    notification id to begin with
-- ARGV[2]  to      notification id to end with; '+' none
-- ARGV[3]  limit   most notifications
-- ARGV[4..] topics those wanted; none: all
-- returns  {more, seen, notifications}: each {id, uuid or id, originator, version, topic, state};
--          seen: the last id looked at, from - 1 if none; more 1: there may be more of them behind it
-- retry:   safe
-- cost:    O(log(events) + events looked at)
local wanted, any = {}, #ARGV == 3
for n = 4, #ARGV do wanted[ARGV[n]] = true end
local limit, seen, looked, bytes, found = tonumber(ARGV[3]), tonumber(ARGV[1]) - 1, 0, 0, {}
local to = ARGV[2] == '+' and '+' or '0-' .. ARGV[2]
while true do
  local count = any and math.min(200, limit - #found) or 200
  local entries = redis.call('XRANGE', KEYS[1], string.format('0-%.0f', seen + 1), to, 'COUNT', count)
  for _, entry in ipairs(entries) do
    local id, fields = string.sub(entry[1], 3), entry[2]
    seen, looked = tonumber(id), looked + 1
    if any or wanted[fields[6]] then
      found[#found + 1] = {id, fields[1], fields[2], fields[4], fields[6], fields[8]}
      bytes = bytes + #fields[8]
      if #found >= limit or bytes > 1048576 then return {1, seen, found} end
    end
  end
  if #entries < count then return {0, seen, found} end
  if looked >= 10000 then return {1, seen, found} end
end
