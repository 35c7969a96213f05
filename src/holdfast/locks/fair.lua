#!lua flags=allow-oom
-- locks/fair: take the lock if it is free and nobody alive came before us; else stand in the queue.
--
-- KEYS[1]  lock
-- KEYS[2]  fence    the last one given
-- KEYS[3]  tomb     exists if this acquire was given up
-- KEYS[4]  count    how often somebody found it held
-- KEYS[5]  history  of strict fences: the replication id of the server on which they were begun
-- KEYS[6]  queue    tickets by token: server microseconds of their arrival
-- KEYS[7]  beats    until when each waiter is taken to be alive: server milliseconds
-- ARGV[1]  token    32 hexadecimal digits
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  owner    'host:pid:label'
-- ARGV[4]  history  milliseconds that the fence outlives its last grant
-- ARGV[5]  first    '1': count it if the lock is held
-- ARGV[6]  strict   '1': grant only where it is known for sure how far the fences had come
-- ARGV[7]  patience milliseconds for which a waiter that says nothing is taken to be alive; 0: do not queue
-- ARGV[8..] others  tokens of waiters of the same process, who are alive too
-- returns  {1, fence} ours; {0, pttl or -1, value} held by somebody else; {0, rest, ''} free, but not our turn: for
--          so many milliseconds the first is taken to be alive;
--          {-1} given up; {-2} fences unknown
-- retry:   by request id (the token)
-- cost:    O(log n) where n wait, and O(k log n) for k others
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, tonumber(string.match(held, '^%x+:(%d+)'))}
end
if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
local patience = tonumber(ARGV[7])
if patience > 0 then
  local latest = redis.call('ZRANGE', KEYS[6], -1, -1, 'WITHSCORES')[2]
  redis.call('ZADD', KEYS[6], 'NX', string.format('%.0f', math.max(now, tonumber(latest or 0) + 1)), ARGV[1])
  local alive = string.format('%.0f', now_ms + patience)
  redis.call('ZADD', KEYS[7], alive, ARGV[1])
  for place = 8, #ARGV do
    -- One that is not queued any more has been granted or given up: it must not come back.
    if redis.call('ZSCORE', KEYS[6], ARGV[place]) then redis.call('ZADD', KEYS[7], alive, ARGV[place]) end
  end
  redis.call('PEXPIRE', KEYS[6], patience * 4)
  redis.call('PEXPIRE', KEYS[7], patience * 4)
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', string.format('%.0f', now_ms))) do
  redis.call('ZREM', KEYS[6], dead)
  redis.call('ZREM', KEYS[7], dead)
end
local first = redis.call('ZRANGE', KEYS[6], 0, 0)[1]
while first and not redis.call('ZSCORE', KEYS[7], first) do -- its beats were evicted: it would stay for ever
  redis.call('ZREM', KEYS[6], first)
  first = redis.call('ZRANGE', KEYS[6], 0, 0)[1]
end
if held or (first and first ~= ARGV[1]) then
  if held and ARGV[5] == '1' then
    redis.call('INCR', KEYS[4])
    redis.call('PEXPIRE', KEYS[4], ARGV[4])
  end
  -- It is free, but not for us: whoever is first may not know, if the holder did not live to tell.
  if not held then redis.pcall('SPUBLISH', KEYS[6] .. ':w:' .. first, 'free') end
  local left = held and redis.call('PTTL', KEYS[1]) or tonumber(redis.call('ZSCORE', KEYS[7], first)) - now_ms
  return {0, left, held or ''}
end
redis.call('ZREM', KEYS[6], ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
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
local since = string.format('%.0f', now_ms)
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. written .. ':' .. since .. ':' .. ARGV[3], 'PX', ARGV[2])
return {1, fence}
