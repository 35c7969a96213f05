#!lua flags=no-writes
-- events/page: the events of a partition behind a position, in the order in which they were appended.
--
-- The keys of the events are made here, of KEYS[3]: they share its slot, and only the log knows their names.
--
-- KEYS[1]  meta     see append.lua
-- KEYS[2]  log
-- KEYS[3]  streams  what the key of every stream's events starts with
-- ARGV[1]  after    position; 0 from the first that ever was
-- ARGV[2]  to       the last position wanted; '+' all
-- ARGV[3]  limit    events at most
-- returns  {born, last, events}: event: {id of the position, stream, version, fields, or false: it is gone}
-- retry:   safe (it only reads)
-- cost:    O(limit * log(events of a stream))
local meta = redis.call('HMGET', KEYS[1], 'born', 'last')
local from = string.format('%.0f-0', ARGV[1] + 1)
local refs = redis.call('XRANGE', KEYS[2], from, ARGV[2], 'COUNT', ARGV[3])
local found, at = {}, 1
while at <= #refs do
  -- As many as follow one another in one stream: mostly a batch.
  local name, first, size = refs[at][2][2], tonumber(refs[at][2][4]), 1
  while refs[at + size] and refs[at + size][2][2] == name do size = size + 1 end
  local have, last = {}, first + size - 1
  local events = redis.call('XRANGE', KEYS[3] .. name, string.format('%.0f-0', first),
    string.format('%.0f-0', last))
  for _, event in ipairs(events) do have[event[1]] = event[2] end
  for number = 0, size - 1 do
    local ref, version = refs[at + number], string.format('%.0f-0', first + number)
    found[#found + 1] = {ref[1], name, version, have[version] or false}
  end
  at = at + size
end
return {tonumber(meta[1] or 0), tonumber(meta[2] or 0), found}
