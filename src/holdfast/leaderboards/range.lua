#!lua flags=no-writes
-- leaderboards/range: rows of a period that follow each other, the best first.
--
-- KEYS[1]  meta    see write.lua; the same as KEYS[3]: it was looked at before
-- KEYS[2]  data    see write.lua
-- KEYS[3]  scores  of the period; see write.lua
-- KEYS[4]  more    of the period; see write.lua
-- ARGV[1]  kept    see write.lua
-- ARGV[2]  ties    see write.lua
-- ARGV[3]  begins  of the period that is thought to run now, server milliseconds
-- ARGV[4]  ends    likewise; '0' no matter
-- ARGV[5]  how     'places', 'around', 'between' or 'share'
-- ARGV[6]  from    places: the first, from 0; around: the member; between: the best score; share: who leaves so
--                  many percent of the others behind
-- ARGV[7]  to      places: the last; around: so many on either side; between: the worst score
-- ARGV[8]  skip    between: behind so many rows
-- ARGV[9]  limit   between: at most so many rows
-- returns  {'ok', place of the first row from 0, its rank, {member, score, ...}, data}: data of each row, or {}.
--          {'time', ms}: another period runs. {'other', kept}: see write.lua
-- retry:   safe
-- cost:    O(log(members) + rows)
if KEYS[1] ~= KEYS[3] then
  local meta = redis.call('GET', KEYS[1])
  if meta and meta ~= ARGV[1] then return {'other', meta} end
end
if ARGV[4] ~= '0' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if now < tonumber(ARGV[3]) or now >= tonumber(ARGV[4]) then return {'time', now} end
end
local kind, ties, how = string.match(ARGV[1], '^%a+'), ARGV[2], ARGV[5]
local scores, more = KEYS[3], KEYS[4]
local none = {'ok', 0, 0, {}, {}}

local first, rows
if how == 'between' then
  rows = redis.call('ZRANGE', scores, ARGV[6], ARGV[7], 'BYSCORE', 'LIMIT', ARGV[8], ARGV[9], 'WITHSCORES')
  first = rows[1] and redis.call('ZRANK', scores, rows[1])
else
  local last
  if how == 'around' then
    local turn = kind == 'first' and redis.call('HGET', more, ARGV[6]) or ''
    if kind == 'first' and turn == '' then return none end
    local place = redis.call('ZRANK', scores, turn .. ARGV[6])
    if not place then return none end
    first, last = math.max(0, place - ARGV[7]), place + ARGV[7]
  elseif how == 'share' then
    local card = redis.call('ZCARD', scores)
    -- A share that a member really has is met again, though its fraction of a hundred was rounded.
    first = card - 1 - math.ceil((card - 1) * ARGV[6] / 100 - 1e-6)
    last = first
  else
    first, last = tonumber(ARGV[6]), tonumber(ARGV[7])
  end
  if first < 0 then return none end
  rows = redis.call('ZRANGE', scores, string.format('%.0f', first), string.format('%.0f', last), 'WITHSCORES')
end
if not rows[1] then return none end

local rank = first + 1
if ties == 'competition' or ties == 'dense' then
  local text = string.format('%.17g', tonumber(rows[2]))
  if ties == 'dense' then rank = (redis.call('ZRANK', more, text) or -1) + 1
  else rank = redis.call('ZCOUNT', scores, '-inf', '(' .. text) + 1 end
end
if kind == 'first' then
  for at = 1, #rows, 2 do rows[at] = string.sub(rows[at], 12) end
end
local data = {}
if redis.call('EXISTS', KEYS[2]) == 1 then
  local members = {}
  for at = 1, #rows, 2 do members[#members + 1] = rows[at] end
  data = redis.call('HMGET', KEYS[2], unpack(members))
end
return {'ok', first, rank, rows, data}
