#!lua flags=no-writes
-- leaderboards/ranks: where some members stand in a period.
--
-- KEYS[1]  meta    see write.lua; the same as KEYS[3]: it was looked at before
-- KEYS[2]  data    see write.lua
-- KEYS[3]  scores  of the period; see write.lua
-- KEYS[4]  more    of the period; see write.lua
-- ARGV[1]  kept    see write.lua
-- ARGV[2]  ties    see write.lua
-- ARGV[3]  begins  of the period that is thought to run now, server milliseconds
-- ARGV[4]  ends    likewise; '0' no matter
-- ARGV[5]  what    'rank'; 'place' in the order of the board, from 1; 'worse': how many have a worse score
-- ARGV[6..] members
-- returns  {'ok', members of the board, {that number, score, ...}, data}: 0 and '' for who is not on it;
--          data: of each member, or {}. {'time', ms}: another period runs. {'other', kept}: see write.lua
-- retry:   safe
-- cost:    O(members asked for * log(members))
if KEYS[1] ~= KEYS[3] then
  local meta = redis.call('GET', KEYS[1])
  if meta and meta ~= ARGV[1] then return {'other', meta} end
end
if ARGV[4] ~= '0' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now < tonumber(ARGV[3]) or now >= tonumber(ARGV[4]) then return {'time', now} end
end
local kind, what = string.match(ARGV[1], '^%a+'), ARGV[5]
local scores, more = KEYS[3], KEYS[4]
if what == 'rank' and (ARGV[2] == 'competition' or ARGV[2] == 'dense') then what = ARGV[2] end

local function number(raw, text)
  if what == 'competition' then return redis.call('ZCOUNT', scores, '-inf', '(' .. text) + 1 end
  if what == 'worse' then return redis.call('ZCOUNT', scores, '(' .. text, '+inf') end
  local at
  if what == 'dense' then at = redis.call('ZRANK', more, text) else at = redis.call('ZRANK', scores, raw) end
  return at and at + 1 or 0
end

local found, members = {}, {}
for at = 6, #ARGV do
  local raw, score = ARGV[at], false
  members[#members + 1] = raw
  local turn = kind ~= 'first' and '' or redis.call('HGET', more, raw)
  if turn then
    raw = turn .. raw
    score = redis.call('ZSCORE', scores, raw)
  end
  local text = score and string.format('%.17g', tonumber(score)) or ''
  found[#found + 1] = score and number(raw, text) or 0
  found[#found + 1] = text
end
local data = {}
if #members > 0 and redis.call('EXISTS', KEYS[2]) == 1 then
  data = redis.call('HMGET', KEYS[2], unpack(members))
end
return {'ok', redis.call('ZCARD', scores), found, data}
