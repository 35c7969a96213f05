#!lua
-- events/append: append a batch to each of some streams of one partition: to all of them, or to none.
--
-- Everything is looked at before the first write: a script that fails in the middle undoes nothing.
--
-- KEYS[1]  meta      hash: born, last; the positions of the log are born + 1 to last
-- KEYS[2]  log       stream: <position>-0 -> s (a stream), v (a version of it); a channel as well
-- KEYS[3]  versions  hash: stream -> the version it has
-- KEYS[4]  memo      of this request: what it was answered
-- KEYS[5..] events   two keys per stream: its events (a stream: <version>-0 -> type, ...), and its batches
--                    (a hash: id of a batch -> what it was answered)
-- ARGV[1]  batch     id that the events get
-- ARGV[2]  named     '1': the id is the user's, and is known for as long as the stream is; '0': it is a token
-- ARGV[3]  keep      milliseconds for which the memo is kept; 0: needs none, as the version that is expected
--                    tells a repeated request
-- ARGV[4..] streams  each: name, expected ('' any, 'exists', a version), count, and per event: type, data,
--                    schema, headers
-- returns  {1, {first, last, position}, ...} appended; {2, ...} the same: it was before; {0, which, version}
--          stream `which` has another version than expected; {3} the id belongs to a batch of other streams
-- retry:   by request id (the batch)
-- cost:    O(events)
local streams, at = {}, 4
while at <= #ARGV do
  local one = {name = ARGV[at], expected = ARGV[at + 1], count = tonumber(ARGV[at + 2]), first = at + 3}
  one.events, one.batches = KEYS[5 + 2 * #streams], KEYS[6 + 2 * #streams]
  streams[#streams + 1] = one
  at = one.first + 4 * one.count
end

local function again(answers)
  table.insert(answers, 1, 2)
  return answers
end

if ARGV[2] == '1' then
  local known, count = {}, 0
  for number, one in ipairs(streams) do
    local answer = redis.call('HGET', one.batches, ARGV[1])
    if answer then
      known[number] = cmsgpack.unpack(answer)
      count = count + 1
    end
  end
  if count == #streams then return again(known) end
  if count > 0 then return {3} end
elseif ARGV[3] ~= '0' then
  local memo = redis.call('GET', KEYS[4])
  if memo then return again(cmsgpack.unpack(memo)) end
end

-- The last id of a stream whose counter somebody has deleted.
local function last_of(key)
  if redis.call('EXISTS', key) == 0 then return 0 end
  local told = redis.call('XINFO', 'STREAM', key)
  for number = 1, #told, 2 do
    if told[number] == 'last-generated-id' then return tonumber(string.match(told[number + 1], '^%d+')) end
  end
end

for number, one in ipairs(streams) do
  one.version = tonumber(redis.call('HGET', KEYS[3], one.name) or last_of(one.events))
  local wanted = one.expected
  local fits = wanted == '' or (wanted == 'exists' and one.version > 0) or tonumber(wanted) == one.version
  if not fits then
    if #streams == 1 and tonumber(wanted) then -- a repeated request: what is there now is its own batch
      local id = string.format('%.0f-0', wanted + 1)
      local found = redis.call('XRANGE', one.events, id, id)[1]
      local mine, position = false, nil
      for field = 1, found and #found[2] or 0, 2 do
        if found[2][field] == 'batch' then mine = found[2][field + 1] == ARGV[1] end
        if found[2][field] == 'position' then position = tonumber(found[2][field + 1]) end
      end
      if mine and ARGV[2] == '0' then
        return again({{wanted + 1, wanted + one.count, position + one.count - 1}})
      end
    end
    return {0, number, one.version}
  end
end

local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local ms = string.format('%.0f', math.floor(micros / 1000))
local position = tonumber(redis.call('HGET', KEYS[1], 'last'))
if not position then
  -- Positions begin at the clock: after a FLUSHALL they go on above all that anybody may remember.
  position = math.max(micros, last_of(KEYS[2]))
  redis.call('HSET', KEYS[1], 'born', string.format('%.0f', position))
end

local answers = {}
for _, one in ipairs(streams) do
  local version = one.version
  for number = 0, one.count - 1 do
    local event = one.first + 4 * number
    version, position = version + 1, position + 1
    local v, p = string.format('%.0f', version), string.format('%.0f', position)
    redis.call('XADD', one.events, v .. '-0', 'type', ARGV[event], 'data', ARGV[event + 1], 'schema',
      ARGV[event + 2], 'headers', ARGV[event + 3], 'at', ms, 'batch', ARGV[1], 'n', number, 'position', p)
    redis.call('XADD', KEYS[2], p .. '-0', 's', one.name, 'v', v)
  end
  redis.call('HSET', KEYS[3], one.name, string.format('%.0f', version))
  local answer = {one.version + 1, version, position}
  if ARGV[2] == '1' then redis.call('HSET', one.batches, ARGV[1], cmsgpack.pack(answer)) end
  answers[#answers + 1] = answer
end
redis.call('HSET', KEYS[1], 'last', string.format('%.0f', position))
if ARGV[3] ~= '0' then redis.call('SET', KEYS[4], cmsgpack.pack(answers), 'PX', ARGV[3]) end
redis.pcall('SPUBLISH', KEYS[2], '')
table.insert(answers, 1, 1)
return answers
