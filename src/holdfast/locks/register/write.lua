-- register/write: write the value, unless a greater fence has written before.
--
-- KEYS[1]  register a hash: value, fence
-- ARGV[1]  fence    of whoever writes
-- ARGV[2]  value    bytes
-- ARGV[3]  ttl      milliseconds; 0: it stays
-- returns  {1, fence} written; {0, the greater fence} refused
-- retry:   safe (the same fence writes the same value again)
-- cost:    O(1)
local seen = redis.call('HGET', KEYS[1], 'fence')
if seen and tonumber(seen) > tonumber(ARGV[1]) then return {0, tonumber(seen)} end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'value', ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) else redis.call('PERSIST', KEYS[1]) end
return {1, tonumber(ARGV[1])}
