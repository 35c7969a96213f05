-- cache/begin: a put is about to write to the source: remove the entry and refuse every fill until it is finished.
--
-- The lease then holds the marks of all puts under way, '<id>@<end>' each, behind 'P:' while there has been one only and
-- behind 'X:' once two overlapped. Two overlapping puts may reach the source in one order and the cache in the other, so
-- behind 'X:' nobody may store. A mark counts until its own end: a killed writer blocks the key no longer than its lease.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- ARGV[1]  id     hexadecimal, new for every put
-- ARGV[2]  lease  milliseconds
-- ARGV[3]  until  server milliseconds after which the caller has given up
-- returns  what the lease must hold for this put to store its value; '' if it may not, or too late
-- retry:   by request id (the id)
-- cost:    O(puts of this key under way)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[3]) then return '' end
redis.call('UNLINK', KEYS[1])
local held = redis.pcall('GET', KEYS[2]) or ''
if type(held) == 'table' then held = '' end -- of another type: no lease of ours, and replaced below
local marks = {}
if string.sub(held, 1, 2) ~= 'F:' then
  for id, ends in string.gmatch(held, '(%x+)@(%d+)') do
    if id == ARGV[1] then return string.sub(held, 1, 2) == 'P:' and held or '' end
    if tonumber(ends) > now then marks[#marks + 1] = id .. '@' .. ends end
  end
end
marks[#marks + 1] = ARGV[1] .. '@' .. string.format('%.0f', now + tonumber(ARGV[2]))
local value = (#marks == 1 and 'P:' or 'X:') .. table.concat(marks, ',')
redis.call('SET', KEYS[2], value, 'PX', ARGV[2]) -- also when memory is full: only a script's first write is refused
return #marks == 1 and value or ''
