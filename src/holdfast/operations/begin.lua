#!lua
-- operations/begin: start an operation, go on with one that failed or was interrupted, or say why not.
--
-- KEYS[1]  record  hash: state (running, waiting, done, dead), fence, attempt, until, lease, token, holder,
--                  slot, life, begun, changed, data, print, result, error, c:<checkpoint>, e:<attempt>
-- KEYS[2]  due     zset: name -> ms from which recovery may take it: the end of its lease, or of its rest
-- KEYS[3]  names   zset: every name in due, in the order of names
-- KEYS[4]  dead    zset: name -> ms
-- KEYS[5]  fence   the last one given in this partition
-- KEYS[6]  gone    is there if whoever asks with this token has gone away, see abandon.lua
-- ARGV[1]  name    of the operation within its partition
-- ARGV[2]  token   hexadecimal, new for every attempt to begin, the same when its request is repeated
-- ARGV[3]  holder  who begins, for people
-- ARGV[4]  slot    see orphans.lua; '' none
-- ARGV[5]  life    of the process, see orphans.lua
-- ARGV[6]  lease   milliseconds
-- ARGV[7]  most    attempts
-- ARGV[8]  keep    milliseconds for which what is not done is kept without a sign of life; 0 for ever
-- ARGV[9]  print   fingerprint of the request; '' any
-- ARGV[10] data    of the first attempt
-- ARGV[11] again   '0': an attempt that was interrupted was the last one, as nobody knows how it ended
-- returns  {1, fence, attempt, interrupted, fields} ours, interrupted: whose lease had ended, '' nobody's;
--          {0, ms left, holder} busy; {2, result} done; {3, error, attempts, fresh} dead, fresh 1: just now;
--          {4, print} the request was another
-- retry:   by request id (the token: a repeated request finds the attempt that the first one began)
-- cost:    O(log(operations pending) + size of the record)
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local name, keep = ARGV[1], tonumber(ARGV[8])
if redis.call('EXISTS', KEYS[6]) == 1 then return {0, 0, ''} end
local known = redis.call('HMGET', KEYS[1], 'state', 'fence', 'attempt', 'until', 'token', 'print', 'holder',
  'lease')
local state, attempt = known[1], tonumber(known[3] or 0)
if state and ARGV[9] ~= '' and known[6] ~= ARGV[9] then return {4, known[6] or ''} end
local interrupted = ''
if state == 'waiting' and known[5] == ARGV[2] then return {0, 0, ''} end -- its attempt is over: this came late
if state == 'running' then
  if known[5] == ARGV[2] then
    return {1, tonumber(known[2]), attempt, '', redis.call('HGETALL', KEYS[1])}
  end
  local left, lease = tonumber(known[4]) - now, tonumber(known[8])
  if left > lease then -- the clock was set back: nobody shall wait for hours
    left = lease
    local ends = string.format('%.0f', now + lease)
    redis.call('HSET', KEYS[1], 'until', ends)
    redis.call('ZADD', KEYS[2], ends, name)
  end
  if left > 0 then return {0, left, known[7]} end
  interrupted = known[7]
elseif state == 'done' then
  return {2, redis.call('HGET', KEYS[1], 'result')}
elseif state == 'dead' then
  return {3, redis.call('HGET', KEYS[1], 'error') or '', attempt, 0}
end
-- Not below the clock: after a FLUSHALL, or on a replica that missed the last one, it must not go back.
local fence = math.max(tonumber(redis.call('GET', KEYS[5]) or 0) + 1, tonumber(known[2] or 0) + 1, micros)
local written, ms = string.format('%.0f', fence), string.format('%.0f', now)
redis.call('SET', KEYS[5], written)
if interrupted ~= '' then
  local ago = now - tonumber(known[4])
  local error = string.format('interrupted: the lease of %s ended %.0f ms ago', interrupted, ago)
  redis.call('HSET', KEYS[1], 'error', error, 'e:' .. attempt, string.format('%013.0f', now) .. error)
end
if state and (attempt >= tonumber(ARGV[7]) or (interrupted ~= '' and ARGV[11] == '0')) then
  redis.call('HSET', KEYS[1], 'state', 'dead', 'fence', written, 'changed', ms)
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
  redis.call('ZADD', KEYS[4], ms, name)
  if keep > 0 then
    redis.call('PEXPIRE', KEYS[1], ARGV[8])
    redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now - keep))
  end
  redis.pcall('SPUBLISH', KEYS[1], 'dead')
  return {3, redis.call('HGET', KEYS[1], 'error') or '', attempt, 1}
end
if not state then
  redis.call('HSET', KEYS[1], 'begun', ms, 'data', ARGV[10], 'print', ARGV[9])
end
attempt = attempt + 1
local ends = string.format('%.0f', now + ARGV[6])
redis.call('HSET', KEYS[1], 'state', 'running', 'fence', written, 'attempt', attempt, 'until', ends, 'lease',
  ARGV[6], 'token', ARGV[2], 'holder', ARGV[3], 'slot', ARGV[4], 'life', ARGV[5], 'changed', ms)
redis.call('ZADD', KEYS[2], ends, name)
redis.call('ZADD', KEYS[3], 0, name)
if keep > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
  -- Records that nobody took up for so long have ended by themselves; their places in the index end here.
  local past = string.format('(%.0f', now - keep)
  local old = redis.call('ZRANGE', KEYS[2], '-inf', past, 'BYSCORE', 'LIMIT', 0, 2)
  for _, one in ipairs(old) do
    redis.call('ZREM', KEYS[2], one)
    redis.call('ZREM', KEYS[3], one)
  end
else
  redis.call('PERSIST', KEYS[1])
end
return {1, fence, attempt, interrupted, state and redis.call('HGETALL', KEYS[1]) or {}}
