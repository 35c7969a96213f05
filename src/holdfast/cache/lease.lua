-- cache/lease: ask for the right to fill an entry.
--
-- KEYS[1]  entry
-- KEYS[2]  lease  'F:<id>' of the fill under way, the marks of puts under way (begin.lua), or 'T:<id>' of a fill that
--                 failed a moment ago (abandon.lua)
-- ARGV[1]  token  'F:<id>', new for every request, so that no fill can be taken for another
-- ARGV[2]  lease  milliseconds
-- ARGV[3]  seen   first 24 bytes of the entry that the reader found unusable, '' if it found none
-- ARGV[4]  until  server milliseconds after which nobody waits for this answer; 0 if unknown
-- ARGV[5]  bare   1: the reader has nothing stale to serve, so that no earlier failure keeps it from loading
-- returns  {0, now}   too late: not granted
--          {1, now}   there is another entry by now: read again
--          {2, now}   granted; now = server milliseconds
--          {3, pttl}  somebody else is at it, for at most pttl milliseconds
--          {4, pttl}  a load failed a moment ago: serve what is stale for pttl milliseconds
-- retry:   by request id (the token: whoever holds the lease already is granted it again)
-- cost:    O(1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A request that was stuck behind a frozen server must not take a lease that nobody will use.
if ARGV[4] ~= '0' and now > tonumber(ARGV[4]) then return {0, now} end
local held = redis.pcall('GET', KEYS[2])
if type(held) == 'table' then -- of another type: no lease of ours
  redis.call('UNLINK', KEYS[2])
  held = false
end
if held == ARGV[1] then return {2, now} end
local first = redis.pcall('GETRANGE', KEYS[1], 0, 23)
if type(first) == 'table' then first = '' end -- of another type: as good as nothing, and the fill replaces it
if first ~= ARGV[3] then return {1, now} end
local failed = held and string.sub(held, 1, 2) == 'T:'
if failed and ARGV[5] ~= '1' then return {4, redis.call('PTTL', KEYS[2])} end
if held and not failed then return {3, redis.call('PTTL', KEYS[2])} end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {2, now}
