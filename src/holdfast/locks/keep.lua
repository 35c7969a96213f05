#!lua flags=allow-oom
-- locks/keep: have the lock for its whole ttl again, if it is ours.
--
-- KEYS[1]  lock
-- KEYS[2]  wanted   a request to give it back, '<token>:<reason>'
-- ARGV[1]  token    of the lease
-- ARGV[2]  ttl      milliseconds
-- returns  1 ours, 2 ours and wanted back, 0 nobody's, -1 somebody else's
-- retry:   safe
-- cost:    O(1)
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
if string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return -1 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- Read last: what is read, and found missing, the server tracks, and tells us when it changes.
redis.call('GET', KEYS[1])
-- While a slot moves, the caller may name the lock alone: the server refuses two keys of which one is missing.
local wanted = KEYS[2] and redis.call('GET', KEYS[2])
return wanted and string.sub(wanted, 1, 33) == ARGV[1] .. ':' and 2 or 1
