#!lua flags=no-writes
-- streams/lag: how far a group is behind in a partition, counted; the server's own number is not used.
--
-- That number is null after XDEL, too high after a trim, and whatever XGROUP SETID was told. So what is not
-- delivered is counted: from its first entry on, or what stands before it, if that is less; all of the stream
-- if nothing stands before it.
--
-- KEYS[1]  stream
-- KEYS[2]  saved   see turn.lua
-- ARGV[1]  group
-- ARGV[2]  start   where the group begins if it is not there: '0' or '$'
-- ARGV[3]  bound   entries to count, at most
-- ARGV[4]  from    go on with a count: behind this id ...
-- ARGV[5]  to      ... up to this one; '' the first time
-- returns  {exists, unread, cursor, last, removed, age, pending, oldest}: exists: is the group there; cursor:
--          where to go on, '' if all was counted; last: id of the last entry; removed: entries that were ever
--          removed, so that whoever goes on knows if some were meanwhile; age: ms since the first entry that
--          is not delivered was added; oldest: ms since the first one that is pending was
-- retry:   safe
-- cost:    O(bound)
local PIECE, LARGE = 200000, 4000000 -- bytes of entries that are looked at in one step, and in all
local stream, bound = KEYS[1], tonumber(ARGV[3])

local function field(flat, name)
  for at = 1, #flat, 2 do
    if flat[at] == name then return flat[at + 1] end
  end
end

local function weight(entry)
  local bytes = 100
  for _, value in ipairs(entry[2]) do bytes = bytes + #value end
  return bytes
end

-- How many there are from one id to another, and where it was given up: large entries are not cheap to count.
local function count(from, to, sample)
  local found, bytes, size = 0, 0, weight(sample)
  while found < bound and bytes < LARGE do
    local page = math.max(1, math.min(200, bound - found, math.floor(PIECE / size)))
    local rows = redis.call('XRANGE', stream, from, to, 'COUNT', page)
    found = found + #rows
    if #rows < page then return found, '' end
    size = weight(rows[#rows])
    bytes = bytes + size * #rows
    from = '(' .. rows[#rows][1]
  end
  return found, from
end

local about = redis.pcall('XINFO', 'STREAM', stream)
if about.err then
  if redis.call('EXISTS', stream) == 1 then return about end
  return {0, 0, '', '0-0', 0, 0, 0, 0}
end
local last, length = field(about, 'last-generated-id'), field(about, 'length')
local removed = field(about, 'entries-added') - length
if ARGV[4] ~= '' then
  local sample = redis.call('XRANGE', stream, ARGV[4], ARGV[5], 'COUNT', 1)[1]
  local unread, cursor = 0, ''
  if sample then unread, cursor = count(ARGV[4], ARGV[5], sample) end
  return {1, unread, cursor, last, removed, 0, 0, 0}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function since(id) return math.max(0, now - string.match(id, '^%d+')) end

local exists, position, pending, oldest = 0, nil, 0, 0
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  if field(group, 'name') == ARGV[1] then
    exists, position = 1, field(group, 'last-delivered-id')
    local summary = redis.call('XPENDING', stream, ARGV[1])
    pending = summary[1]
    if pending > 0 then oldest = since(summary[2]) end
  end
end
if not position then position = redis.call('GET', KEYS[2]) or (ARGV[2] == '$' and last or '0-0') end

local next_one = redis.call('XRANGE', stream, '(' .. position, '+', 'COUNT', 1)[1]
if not next_one then return {exists, 0, '', last, removed, 0, pending, oldest} end
local age, unread, cursor = since(next_one[1]), length, ''
local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
if first[1] ~= next_one[1] then
  unread, cursor = count('(' .. position, '+', next_one)
  if cursor ~= '' then
    local before, rest = count('-', position, first)
    if rest == '' then unread, cursor = length - before, '' end
  end
end
return {exists, unread, cursor, last, removed, age, pending, oldest}
