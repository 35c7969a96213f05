#!lua flags=allow-oom
-- concurrency/take: take a slot if there is one and nobody came before us; else stand in the queue.
--
-- KEYS[1]  slots    zset: until when, by token; server milliseconds
-- KEYS[2]  queue    zset: who waits; server microseconds of the arrival, by token
-- KEYS[3]  beats    zset: until when each of them is taken to be alive; server milliseconds
-- KEYS[4]  tomb     exists if this attempt was given up; it must not succeed any more
-- ARGV[1]  token    '<32 hexadecimal digits>:<limit>', new for every attempt, the same in its repetitions
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  limit    slots there are, as the caller has it; the same as in the token
-- ARGV[4]  patience milliseconds for which a waiter that says nothing is taken to be alive; 0: do not wait
-- ARGV[5]  most     that may wait; -1: any number
-- ARGV[6..] others  tokens of waiters of the same process, who are alive too
-- returns  {1, in use, waiting, 0, ms} ours; ms: until the last of all slots ends, if none is renewed
--          {0, in use, waiting, ms, ms} none for us: ms until there is one, if none is renewed, and the last
--          {-2, in use, waiting, ms, ms} the same, and too many wait; {-1} given up
-- retry:   by request id (the token: who has a slot already is told so again)
-- cost:    O(k log n + dead) where n are out or wait, for k others
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local today = string.format('%.0f', now)
local token, limit, patience = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])

local mine = tonumber(redis.call('ZSCORE', KEYS[1], token) or 0) > now
if not mine and redis.call('EXISTS', KEYS[4]) == 1 then return {-1} end
local freed = redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', today)
local function clear(waiter)
  redis.call('ZREM', KEYS[2], waiter)
  redis.call('ZREM', KEYS[3], waiter)
  freed = freed + 1
end
if patience > 0 and not mine then
  local alive = string.format('%.0f', now + patience)
  for place = 6, #ARGV do
    -- One that is not queued any more has been granted or given up: it must not come back.
    if redis.call('ZSCORE', KEYS[2], ARGV[place]) then redis.call('ZADD', KEYS[3], alive, ARGV[place]) end
  end
  if redis.call('ZSCORE', KEYS[2], token) then redis.call('ZADD', KEYS[3], alive, token) end
end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', today)) do clear(dead) end
local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
while first and not redis.call('ZSCORE', KEYS[3], first) do -- its beats were evicted: it would stay for ever
  clear(first)
  first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
end

local out, waiting = redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])
local rank = redis.call('ZRANK', KEYS[2], token) or waiting
local code = 0
if mine or out + rank < limit then
  code = 1
  if not mine then out = out + 1 end
  waiting = waiting - redis.call('ZREM', KEYS[2], token)
  redis.call('ZREM', KEYS[3], token)
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), token)
  redis.call('PEXPIREAT', KEYS[1], redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
elseif patience > 0 then
  if rank == waiting and tonumber(ARGV[5]) >= 0 and waiting >= tonumber(ARGV[5]) then
    code = -2
  elseif rank == waiting then
    local latest = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
    redis.call('ZADD', KEYS[2], string.format('%.0f', math.max(micros, tonumber(latest or 0) + 1)), token)
    redis.call('ZADD', KEYS[3], string.format('%.0f', now + patience), token)
    waiting = waiting + 1
  end
  redis.call('PEXPIRE', KEYS[2], patience * 4)
  redis.call('PEXPIRE', KEYS[3], patience * 4)
end
if freed > 0 and waiting > 0 then -- nobody lived to tell those whose turn it is
  for place, waiter in ipairs(redis.call('ZRANGE', KEYS[2], 0, 15)) do
    if out + place - 1 < tonumber(string.match(waiter, '%d+$')) then
      redis.pcall('SPUBLISH', KEYS[2] .. ':w:' .. waiter, 'free')
    end
  end
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if code == 1 or not last then return {code, out, waiting, 0, last and last - now or 0} end
-- As many as are ahead of us, and as are out beyond our limit, have to end first.
local ends = redis.call('ZRANGE', KEYS[1], out + rank - limit, out + rank - limit, 'WITHSCORES')[2] or last
return {code, out, waiting, ends - now, last - now}
