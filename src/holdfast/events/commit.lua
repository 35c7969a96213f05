#!lua
-- events/commit: what a projection makes of some events, and the position it has reached: both or neither.
--
-- A script that fails in the middle is not undone, so what could fail is looked at before the first write.
-- That is enough, as no two commands write the same place: effects.py has put them together.
--
-- KEYS[1]  progress  see turn.lua; a channel as well
-- KEYS[2]  active
-- KEYS[3]  lease
-- KEYS[4..] model    the projection's keys that are written
-- ARGV[1]  name      of the projection, escaped
-- ARGV[2]  version
-- ARGV[3]  token     of the runner
-- ARGV[4]  lease     milliseconds
-- ARGV[5]  from      the position it has reached so far
-- ARGV[6]  to        the position it reaches
-- ARGV[7..] commands  each: name, number of its key in KEYS, count, and as many arguments
-- returns  {1, '', ''} done; {0, '', ''} it is not where it was thought to be, or not ours any more;
--          {2, key, why} that key cannot be written
-- retry:   by request id (runner and position)
-- cost:    that of the commands, O(1) besides
local name, version = ARGV[1], tonumber(ARGV[2])
local own = name .. ':' .. ARGV[2]
local known = redis.call('HMGET', KEYS[1], 'at:' .. own, 'by:' .. own)
if known[1] == ARGV[6] and known[2] == ARGV[3] then return {1, '', ''} end
local holder = redis.call('GET', KEYS[3])
if known[1] ~= ARGV[5] or (holder and holder ~= ARGV[3]) then return {0, '', ''} end
local state = redis.call('HMGET', KEYS[2], name, 'off:' .. name)
local active, off = tonumber(state[1] or 0), tonumber(state[2] or 0)
if active ~= version then
  local goal = redis.call('HGET', KEYS[1], 'at:' .. name .. ':' .. active)
  if version < active or version <= off or tonumber(ARGV[6]) > tonumber(goal or 0) then return {0, '', ''} end
end

local KIND = {INCRBY = 'string', HSET = 'hash', HINCRBY = 'hash', HDEL = 'hash', SADD = 'set', SREM = 'set',
  ZADD = 'zset', ZINCRBY = 'zset', ZREM = 'zset'}
local deleted = {}
local function trouble(command, key, first)
  if command == 'DEL' then deleted[key] = true end
  local kind = redis.call('TYPE', key)['ok']
  if not KIND[command] or kind == 'none' or deleted[key] then return end
  if kind ~= KIND[command] then return 'it holds a ' .. kind end
  local value, by
  if command == 'INCRBY' then value, by = redis.call('GET', key), ARGV[first] end
  if command == 'HINCRBY' then value, by = redis.call('HGET', key, ARGV[first]), ARGV[first + 1] end
  local is_whole = value == '0' or string.find(value or '', '^-?[1-9]%d*$')
  if value and (not is_whole or math.abs(value + by) > 2^53) then
    return 'it holds no whole number, or one beyond 2**53'
  end
end
local at = 7
while ARGV[at] do
  local key = KEYS[tonumber(ARGV[at + 1])]
  local why = trouble(ARGV[at], key, at + 3)
  if why then return {2, key, why} end
  at = at + 3 + ARGV[at + 2]
end
at = 7
while ARGV[at] do
  local last = at + 2 + ARGV[at + 2]
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, last))
  at = last + 1
end
redis.call('HSET', KEYS[1], 'at:' .. own, ARGV[6], 'by:' .. own, ARGV[3])
redis.call('HDEL', KEYS[1], 'error:' .. own)
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.pcall('SPUBLISH', KEYS[1], '')
return {1, '', ''}
