#!lua flags=allow-oom
-- rwlock/release: the writer, or a reader, goes; wake who waits.
--
-- Readers wait on the channel '<writer>:w:read', writers on '<writer>:w:write': when the last reader goes, it is the
-- writers' turn, and readers need not be woken.
--
-- KEYS[1]  writer
-- KEYS[2]  readers  zset: until when, by token; server milliseconds
-- KEYS[3]  holders  hash, of the readers
-- ARGV[1]  token    of the lease
-- returns  1 given back, 0 it was not ours any more
-- retry:   never (the second time it is not ours any more; the caller repeats it, and knows)
-- cost:    O(log n) where n read
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
  redis.call('DEL', KEYS[1])
  redis.pcall('SPUBLISH', KEYS[1] .. ':w:read', 'free')
  redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free')
  return 1
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mine = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not mine then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('ZCOUNT', KEYS[2], string.format('(%.0f', now), '+inf') == 0 then
  redis.pcall('SPUBLISH', KEYS[1] .. ':w:write', 'free')
end
return tonumber(mine) > now and 1 or 0
