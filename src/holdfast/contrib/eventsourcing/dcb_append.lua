#!lua
-- eventsourcing/dcb_append: record events with tags, unless others match the condition by now.
--
-- KEYS[1]  log        stream: 0-<position> -> type, data, tags (msgpack)
-- KEYS[2]  request    what this request was answered, in case that its reply is lost
-- KEYS[3..] index     zset of a type or a tag: position -> position
-- ARGV[1]  keep       milliseconds for which the answer is kept
-- ARGV[2]  after      what matches up to this position does not count
-- ARGV[3]  items      of the condition, how many: an event that matches one of them fails it; 0 no condition
-- ARGV[4..] more      each item: how many indexes have to have the event, which, of how many one has to
--                     have it (0: no matter), which; then each event: type, data, tags, how many indexes,
--                     which. An index is named by its number among them
-- returns  the last position; 0 if the condition failed
-- retry:   by request id (a repeated request finds the answer to the first one)
-- cost:    O(events + events after `after` in the shortest index of each item)
local answer = redis.call('GET', KEYS[2])
if answer then return tonumber(answer) end
local at = 4
local function list()
  local found, count = {}, tonumber(ARGV[at])
  for n = 1, count do found[n] = KEYS[2 + ARGV[at + n]] end
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
local function found(all, any)
  local after = ARGV[2]
  if #all == 0 then
    return #redis.call('XRANGE', KEYS[1], string.format('0-%.0f', after + 1), '+', 'COUNT', 1) > 0
  end
  local shortest, fewest = nil, math.huge
  for _, index in ipairs(all) do
    local count = redis.call('ZCOUNT', index, '(' .. after, '+inf')
    if count < fewest then shortest, fewest = index, count end
  end
  while true do
    local positions = redis.call('ZRANGE', shortest, '(' .. after, '+inf', 'BYSCORE', 'LIMIT', 0, 500)
    for _, position in ipairs(positions) do
      if matches(all, any, position) then return true end
      after = position
    end
    if #positions < 500 then return false end
  end
end
for _ = 1, ARGV[3] do
  local all, any = list(), list()
  if found(all, any) then return 0 end
end
local last = '0'
while at <= #ARGV do
  local id = redis.call('XADD', KEYS[1], '0-*', 'type', ARGV[at], 'data', ARGV[at + 1], 'tags', ARGV[at + 2])
  last = string.sub(id, 3)
  at = at + 3
  for _, index in ipairs(list()) do redis.call('ZADD', index, last, last) end
end
redis.call('SET', KEYS[2], last, 'PX', ARGV[1])
redis.pcall('SPUBLISH', KEYS[1], last)
return tonumber(last)
