#!lua flags=no-writes
-- eventsourcing/dcb_read: events that match a query, about a megabyte or ten thousand looked at.
--
-- KEYS[1]  log     see dcb_append.lua
-- KEYS[2..] index  zset of a type or a tag: position -> position
-- ARGV[1]  after   position behind which to begin
-- ARGV[2]  to      position to end with; '+inf' none
-- ARGV[3]  limit   most events
-- ARGV[4]  items   of the query, how many: an event matches that matches one of them
-- ARGV[5..] item   how many indexes have to have the event, which, of how many one has to have it (0: no
--                  matter), which; an index is named by its number among them
-- returns  {head, more, seen, events}: each {position, type, data, tags}; head: the last position of the
--          log; more 1: go on behind seen
-- retry:   safe
-- cost:    O(events looked at * indexes of an item)
local after, to, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local head = newest and tonumber(string.sub(newest[1], 3)) or 0
local at = 5
local function list()
  local found, count = {}, tonumber(ARGV[at])
  for n = 1, count do found[n] = KEYS[1 + ARGV[at + n]] end
  at = at + count + 1
  return found
end
local function has(index, position) return redis.call('ZSCORE', index, position) end
local function matches(all, any, position)
  for _, index in ipairs(all) do
    if not has(index, position) then return false end
  end
  for _, index in ipairs(any) do
    if has(index, position) then return true end
  end
  return #any == 0
end
local wanted, budget = {}, math.ceil(10000 / math.max(1, ARGV[4]))
-- Adds up to `limit` positions to wanted, and returns the one up to which none is missing.
local function collect(all, any)
  if #all == 0 then
    local first = math.min(tonumber(after) + 1, head + 1)
    local last = math.min(head, first + limit - 1, to == '+inf' and head or tonumber(to))
    for position = first, last do wanted[position] = true end
    return last < math.min(head, to == '+inf' and head or tonumber(to)) and last or math.huge
  end
  local shortest, fewest = nil, math.huge
  for _, index in ipairs(all) do
    local count = redis.call('ZCOUNT', index, '(' .. after, to)
    if count < fewest then shortest, fewest = index, count end
  end
  local from, looked, hits = after, 0, 0
  while true do
    local positions = redis.call('ZRANGE', shortest, '(' .. from, to, 'BYSCORE', 'LIMIT', 0, 500)
    for _, position in ipairs(positions) do
      from, looked = position, looked + 1
      if matches(all, any, position) then
        wanted[tonumber(position)], hits = true, hits + 1
        if hits >= limit then return tonumber(from) end
      end
    end
    if #positions < 500 then return math.huge end
    if looked >= budget then return tonumber(from) end
  end
end
local complete = math.huge
for _ = 1, ARGV[4] do
  local all, any = list(), list()
  complete = math.min(complete, collect(all, any))
end
local order, events, bytes = {}, {}, 0
for position in pairs(wanted) do
  if position <= complete then order[#order + 1] = position end
end
table.sort(order)
for n, position in ipairs(order) do
  local id = string.format('0-%.0f', position)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if entry then
    local fields = entry[2]
    events[#events + 1] = {position, fields[2], fields[4], fields[6]}
    bytes = bytes + #fields[4]
  end
  if n < #order and (#events >= limit or bytes > 1048576) then return {head, 1, position, events} end
end
if complete < math.huge then return {head, 1, complete, events} end
return {head, 0, to == '+inf' and head or tonumber(to), events}
