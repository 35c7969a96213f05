-- cache/fill: store what was loaded, if the lease it was loaded under is still there.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- KEYS[3]  target    where to store: the entry, or its variant for another schema
-- ARGV[1]  token     what the lease must hold: of a fill 'F:<id>', of a put the mark that begin.lua gave
-- ARGV[2]  envelope
-- ARGV[3]  ttl       milliseconds
-- ARGV[4]  stamp     of the entry that the variant belongs to; '' for the entry itself
-- returns  1 stored, 0 refused: invalidated, set or taken over since, or the lease has ended
-- retry:   safe (a repeated fill finds its own stamp and changes nothing)
-- cost:    O(size of the envelope)
local held = redis.call('GET', KEYS[2]) == ARGV[1]
local same = ARGV[4] == '' or redis.call('GETRANGE', KEYS[1], 8, 15) == ARGV[4]
local stored = 0
if held and same then
  redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
  stored = 1
elseif redis.pcall('GETRANGE', KEYS[3], 8, 15) == string.sub(ARGV[2], 9, 16) then
  stored = 1 -- by the request whose reply was lost
end
if held then redis.call('DEL', KEYS[2]) end
redis.pcall('SPUBLISH', KEYS[2], 'filled') -- pcall: without the right to publish, waiters look once a second
return stored
