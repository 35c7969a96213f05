#!lua flags=no-writes
-- eventsourcing/select: the events of one originator, about a megabyte of them at once.
--
-- KEYS[1]  log     see append.lua
-- KEYS[2]  index   of the originator
-- ARGV[1]  order   REV for the newest first; '' for the oldest first
-- ARGV[2]  from    where to begin, as ZRANGE BYSCORE wants it in this order
-- ARGV[3]  to      where to end
-- ARGV[4]  limit   most events
-- returns  {more, events}: each event {version, topic, state}; more 1: go on after the last one; -1: an
--          entry of the log is gone, events is then its notification id
-- retry:   safe
-- cost:    O(log(events of the originator) + events returned * log(events of the log))
local asked = {'ZRANGE', KEYS[2], ARGV[2], ARGV[3], 'BYSCORE', 'LIMIT', 0, ARGV[4]}
if ARGV[1] ~= '' then table.insert(asked, 6, ARGV[1]) end
local positions, events, bytes = redis.call(unpack(asked)), {}, 0
for n, position in ipairs(positions) do
  local entry = redis.call('XRANGE', KEYS[1], '0-' .. position, '0-' .. position)[1]
  if not entry then return {-1, position} end
  local fields = entry[2]
  events[n] = {fields[4], fields[6], fields[8]}
  bytes = bytes + #fields[8]
  if bytes > 1048576 and n < #positions then return {1, events} end
end
return {0, events}
