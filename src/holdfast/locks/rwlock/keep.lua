#!lua flags=allow-oom
-- rwlock/keep: have it for the whole ttl again, if it is ours.
--
-- KEYS[1]  writer
-- KEYS[2]  readers  zset: until when, by token; server milliseconds
-- KEYS[3]  holders  hash, of the readers
-- ARGV[1]  token    of the lease
-- ARGV[2]  ttl      milliseconds
-- returns  1 ours, 0 nobody's, -1 a writer's who is not us
-- retry:   safe
-- cost:    O(log n) where n read
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local mine = redis.call('ZSCORE', KEYS[2], ARGV[1])
  -- Past its end it is not ours, even if nobody has cleared it away yet.
  if held or not mine or tonumber(mine) <= now then return held and -1 or 0 end
  local until_ms = string.format('%.0f', now + ARGV[2])
  -- Not read after this: what is read and not written any more the server tracks, and this key changes all the time.
  redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
  redis.call('PEXPIREAT', KEYS[2], until_ms, 'GT')
  redis.call('PEXPIREAT', KEYS[3], until_ms, 'GT')
end
-- Read last, so that the server tracks it. While readers are in, nobody touches this key but a writer who gets in
-- although they are (another program), FLUSHALL, and break.lua.
redis.call('GET', KEYS[1])
return 1
