#!lua flags=allow-oom
-- operations/claim: take what is due in a partition: operations whose lease or rest has ended.
--
-- One step does all: attempt, fence, lease. What has had its last attempt is buried; what the index has wrong
-- is put right. The records' keys are made here, of KEYS[7]: they share its slot, and only the index knows
-- their names.
--
-- KEYS[1]  due      see begin.lua
-- KEYS[2]  names
-- KEYS[3]  dead
-- KEYS[4]  done
-- KEYS[5]  fence
-- KEYS[6]  memo     of this claim: what it took, so that a repeated request is answered the same
-- KEYS[7]  records  what the key of every record starts with
-- ARGV[1]  token    hexadecimal, new for every claim
-- ARGV[2]  holder   who claims, for people
-- ARGV[3]  slot     see orphans.lua; '' none
-- ARGV[4]  life     of the process
-- ARGV[5]  lease    milliseconds
-- ARGV[6]  most     attempts
-- ARGV[7]  limit    operations to take
-- ARGV[8]  before   server milliseconds: take only what was due then; 0: now
-- ARGV[9]  longest  milliseconds that a rest may take
-- ARGV[10] keep     milliseconds for which what is not done is kept without a sign of life; 0 for ever
-- returns  {now, rest, taken, buried}: rest: ms until something is due, -1 if nothing is pending;
--          taken: {name, fence, attempt, interrupted holder or '', fields}; buried: {name, attempts, error}
-- retry:   by request id (the token; what was buried is told only once)
-- cost:    O((limit + stale entries) * log(operations pending) + size of the records)
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
local ms, most = string.format('%.0f', now), tonumber(ARGV[6])
local limit, keep = tonumber(ARGV[7]), tonumber(ARGV[10])
local taken, buried = {}, {}

local function rest()
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return first[2] and math.max(0, tonumber(first[2]) - now) or -1
end

local memo = redis.call('GET', KEYS[6])
if memo then
  for name in string.gmatch(memo, '[^\n]+') do
    local key = KEYS[7] .. name
    local known = redis.call('HMGET', key, 'state', 'token', 'fence', 'attempt')
    if known[1] == 'running' and known[2] == ARGV[1] then
      taken[#taken + 1] = {name, tonumber(known[3]), tonumber(known[4]), '', redis.call('HGETALL', key)}
    end
  end
  return {now, rest(), taken, buried}
end

-- Where the index belongs, by the record, which alone counts.
local function place(name, known)
  local state, at = known[1], known[2]
  if state == 'running' or state == 'waiting' then
    redis.call('ZADD', KEYS[1], at, name)
    redis.call('ZADD', KEYS[2], 0, name)
    return
  end
  redis.call('ZREM', KEYS[1], name)
  redis.call('ZREM', KEYS[2], name)
  if state == 'dead' then redis.call('ZADD', KEYS[3], 'NX', known[3], name) end
  if state == 'done' then redis.call('ZADD', KEYS[4], 'NX', known[3], name) end
end

if redis.call('ZCARD', KEYS[1]) ~= redis.call('ZCARD', KEYS[2]) then -- somebody removed one of the two
  for _, pair in ipairs({{KEYS[1], KEYS[2]}, {KEYS[2], KEYS[1]}}) do
    local odd = redis.call('ZDIFF', 2, pair[1], pair[2])
    for at = 1, math.min(#odd, 1000) do
      place(odd[at], redis.call('HMGET', KEYS[7] .. odd[at], 'state', 'until', 'changed'))
    end
  end
end

-- What lies further ahead than any lease or rest does so because the clock was set back.
local ahead = string.format('(%.0f', now + math.max(tonumber(ARGV[5]), tonumber(ARGV[9])))
local far = redis.call('ZRANGE', KEYS[1], '+inf', ahead, 'BYSCORE', 'REV', 'LIMIT', 0, 20)
for _, name in ipairs(far) do
  local known = redis.call('HMGET', KEYS[7] .. name, 'state', 'until', 'lease', 'changed')
  local most_ahead = known[1] == 'running' and tonumber(known[3]) or tonumber(ARGV[9])
  if known[1] and tonumber(known[2]) > now + most_ahead then
    known[2] = string.format('%.0f', now + most_ahead)
    redis.call('HSET', KEYS[7] .. name, 'until', known[2])
  end
  place(name, {known[1], known[2], known[4]})
end

local before = string.format('%.0f', ARGV[8] == '0' and now or math.min(now, tonumber(ARGV[8])))
local last, names = tonumber(redis.call('GET', KEYS[5]) or 0), {}
local found = redis.call('ZRANGE', KEYS[1], '-inf', before, 'BYSCORE', 'LIMIT', 0, limit + 100)
for _, name in ipairs(found) do
  if #taken >= limit then break end
  local key = KEYS[7] .. name
  local known = redis.call('HMGET', key, 'state', 'until', 'changed', 'fence', 'attempt', 'holder')
  local state = known[1]
  if not state or state == 'done' or state == 'dead' or tonumber(known[2]) > now then
    place(name, known)
  else
    local attempt, interrupted = tonumber(known[5]), ''
    last = math.max(last + 1, tonumber(known[4]) + 1, micros)
    local fence = string.format('%.0f', last)
    if state == 'running' then
      interrupted = known[6]
      local ago = now - tonumber(known[2])
      local error = string.format('interrupted: the lease of %s ended %.0f ms ago', interrupted, ago)
      redis.call('HSET', key, 'error', error, 'e:' .. attempt, string.format('%013.0f', now) .. error)
    end
    if attempt >= most then
      -- A new fence also for the dead: whoever had it last must not come back and complete it.
      redis.call('HSET', key, 'state', 'dead', 'fence', fence, 'changed', ms)
      place(name, {'dead', '', ms})
      redis.pcall('SPUBLISH', key, 'dead')
      buried[#buried + 1] = {name, attempt, redis.call('HGET', key, 'error') or ''}
    else
      attempt = attempt + 1
      local ends = string.format('%.0f', now + ARGV[5])
      redis.call('HSET', key, 'state', 'running', 'fence', fence, 'attempt', attempt, 'until', ends, 'lease',
        ARGV[5], 'token', ARGV[1], 'holder', ARGV[2], 'slot', ARGV[3], 'life', ARGV[4], 'changed', ms)
      place(name, {'running', ends})
      taken[#taken + 1] = {name, last, attempt, interrupted, redis.call('HGETALL', key)}
      names[#names + 1] = name
    end
    if keep > 0 then redis.call('PEXPIRE', key, ARGV[10]) else redis.call('PERSIST', key) end
  end
end
if #names + #buried > 0 then redis.call('SET', KEYS[5], string.format('%.0f', last)) end
if #names > 0 then redis.call('SET', KEYS[6], table.concat(names, '\n'), 'PX', 60000) end
if #buried > 0 and keep > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('(%.0f', now - keep))
end
return {now, rest(), taken, buried}
