#!lua flags=allow-oom
-- cache/expire: flag an entry as to be loaded again, keeping its value for when that fails.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- returns  1 flagged, 0 there was none
-- retry:   safe
-- cost:    O(1)
redis.call('DEL', KEYS[2]) -- a load under way began before this
local flagged = 0
local length = redis.pcall('STRLEN', KEYS[1]) -- a table: of another type, which is no entry
if type(length) == 'number' and length >= 56 then
  local flags = string.byte(redis.call('GETRANGE', KEYS[1], 3, 3))
  redis.call('SETRANGE', KEYS[1], 3, string.char(bit.bor(flags, 2))) -- keeps the TTL
  flagged = 1
end
redis.pcall('SPUBLISH', KEYS[2], 'expired')
return flagged
