#!lua flags=allow-oom
-- locks/acquire: take the lock if nobody has it.
--
-- KEYS[1]  lock     '<token>:<fence>:<since>:<owner>', or whatever another program puts there
-- KEYS[2]  fence    the last one given
-- KEYS[3]  tomb     exists if this acquire was given up; it must not succeed any more
-- KEYS[4]  count    how often somebody found it held
-- KEYS[5]  history  of strict fences: the replication id of the server on which they were begun
-- ARGV[1]  token    32 hexadecimal digits, new for every acquire, the same in its repetitions
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  owner    'host:pid:label'
-- ARGV[4]  history  milliseconds that the fence outlives its last grant
-- ARGV[5]  first    '1': count it if the lock is held
-- ARGV[6]  strict   '1': grant only where it is known for sure how far the fences had come
-- returns  {1, fence} ours; {0, pttl or -1, value} held by somebody else; {-1} given up; {-2} fences unknown
-- retry:   by request id (the token: who has it already is told so again)
-- cost:    O(1)
local held = redis.call('GET', KEYS[1])
if held then
  if string.sub(held, 1, 33) == ARGV[1] .. ':' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {1, tonumber(string.match(held, '^%x+:(%d+)'))}
  end
  if ARGV[5] == '1' then
    redis.call('INCR', KEYS[4])
    redis.call('PEXPIRE', KEYS[4], ARGV[4])
  end
  return {0, redis.call('PTTL', KEYS[1]), held}
end
if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end
-- Not below the clock: after a FLUSHALL, or on a replica that missed the last one, it must not go back.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.call('GET', KEYS[2])
local fence = math.max(tonumber(last or 0) + 1, now)
local written = string.format('%.0f', fence)
if ARGV[6] == '1' then
  -- Another server, or this one without what it knew, has another replication id.
  local info = redis.pcall('INFO', 'replication')
  local id = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
  if not last or not id or redis.call('GET', KEYS[5]) ~= id then return {-2} end
  redis.call('SET', KEYS[2], written)
else
  redis.call('SET', KEYS[2], written, 'PX', ARGV[4])
end
local since = string.format('%.0f', math.floor(now / 1000))
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. written .. ':' .. since .. ':' .. ARGV[3], 'PX', ARGV[2])
return {1, fence}
