#!lua flags=allow-oom
-- multilock/acquire: take the locks of one slot if nobody has any of them; all, or none.
--
-- KEYS[1]  tomb     exists if this acquire was given up; it must not succeed any more
-- KEYS[2..] locks   three for each name: the lock, the last fence given, how often somebody found it held
-- ARGV[1]  token    32 hexadecimal digits, new for every acquire, the same in its repetitions
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  owner    'host:pid:label'
-- ARGV[4]  history  milliseconds that a fence outlives its last grant
-- ARGV[5]  first    '1': count it if a lock is held
-- ARGV[6]  above    the fence is at least this: the one of the slots before
-- ARGV[7]  waited   which of the names is waited for, from 1; of several that are held, it is named; 0: any
-- returns  {1, fence} all ours; {0, pttl or -1, value, which of the names} one is held by somebody else, and
--          none is ours; {-1} given up
-- retry:   by request id (the token: who has them already is told so again)
-- cost:    O(n) for n names
local mine, busy, holder = 0, 0, nil
for place = 1, (#KEYS - 1) / 3 do
  local held = redis.call('GET', KEYS[place * 3 - 1])
  if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
    mine = mine + 1
  elseif held and (busy == 0 or place == tonumber(ARGV[7])) then
    busy, holder = place, held
  end
end
if busy > 0 then
  -- What a repetition finds of an earlier request of ours: some were taken from us since. All, or none.
  for place = 1, mine > 0 and (#KEYS - 1) / 3 or 0 do
    local held = redis.call('GET', KEYS[place * 3 - 1])
    if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
      redis.call('DEL', KEYS[place * 3 - 1])
      redis.pcall('SPUBLISH', KEYS[place * 3 - 1], 'free')
    end
  end
  if ARGV[5] == '1' then
    redis.call('INCR', KEYS[busy * 3 + 1])
    redis.call('PEXPIRE', KEYS[busy * 3 + 1], ARGV[4])
  end
  return {0, redis.call('PTTL', KEYS[busy * 3 - 1]), holder, busy}
end
if mine == (#KEYS - 1) / 3 then
  for place = 1, mine do redis.call('PEXPIRE', KEYS[place * 3 - 1], ARGV[2]) end
  return {1, tonumber(string.match(redis.call('GET', KEYS[2]), '^%x+:(%d+)'))}
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {-1} end
-- One fence for all of them: greater than every earlier one of any of them, and not below the clock.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fence = math.max(now, tonumber(ARGV[6]))
for place = 1, (#KEYS - 1) / 3 do
  fence = math.max(fence, tonumber(redis.call('GET', KEYS[place * 3]) or 0) + 1)
end
local written = string.format('%.0f', fence)
local value = ARGV[1] .. ':' .. written .. ':' .. string.format('%.0f', math.floor(now / 1000)) .. ':' .. ARGV[3]
for place = 1, (#KEYS - 1) / 3 do
  redis.call('SET', KEYS[place * 3], written, 'PX', ARGV[4])
  redis.call('SET', KEYS[place * 3 - 1], value, 'PX', ARGV[2])
end
return {1, fence}
