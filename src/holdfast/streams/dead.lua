#!lua
-- streams/dead: take dead letters out: back into the stream for their group, or away.
--
-- KEYS[1]  stream
-- KEYS[2]  bell      see publish.lua
-- KEYS[3]  dead      see turn.lua
-- KEYS[4]  requests  see publish.lua
-- ARGV[1]  request   its number; the same when it is repeated
-- ARGV[2]  kept      milliseconds for which requests are remembered after the last one
-- ARGV[3]  group     that is to handle them again
-- ARGV[4]  what      'replay' or 'purge'
-- ARGV[5..] ids      of dead letters
-- returns  how many there were
-- retry:   by request id (the number, among the last 1000 of the client)
-- cost:    O(ids)
local known = redis.call('HGET', KEYS[4], ARGV[1])
if known then return tonumber(known) end

-- The headers tell which message it was at first. Those that nobody can read stay as they are.
local function marked(packed, id)
  local ok, headers = true, {}
  if packed then ok, headers = pcall(cmsgpack.unpack, packed) end
  if not ok or type(headers) ~= 'table' then return packed end
  headers['replayed-from'] = headers['replayed-from'] or id
  return cmsgpack.pack(headers)
end

local count, added = 0, false
for at = 5, #ARGV do
  local letter = redis.call('XRANGE', KEYS[3], ARGV[at], ARGV[at])[1]
  if letter and ARGV[4] == 'replay' then
    local fields, packed, id = {}, nil, ''
    for place = 1, #letter[2], 2 do
      local name, value = letter[2][place], letter[2][place + 1]
      if name == '~id' then
        id = value
      elseif name == 'headers' then
        packed = value
      elseif name ~= 'only' and string.sub(name, 1, 1) ~= '~' then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
      end
    end
    local headers = marked(packed, id)
    redis.call('XADD', KEYS[1], '*', 'only', ARGV[3], 'headers', headers, unpack(fields))
    added = true
  end
  if letter then count = count + redis.call('XDEL', KEYS[3], ARGV[at]) end
end
redis.call('HSET', KEYS[4], ARGV[1], count)
redis.call('HDEL', KEYS[4], string.format('%.0f', ARGV[1] - 1000))
redis.call('PEXPIRE', KEYS[4], ARGV[2])
if added and redis.call('DEL', KEYS[2]) == 1 then redis.pcall('SPUBLISH', KEYS[1], '') end
return count
