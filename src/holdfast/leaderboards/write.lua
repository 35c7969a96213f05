#!lua
-- leaderboards/write: change what members have, in every period that runs, and say where they stand in one.
--
-- KEYS[1]  meta     string, how the board is kept; see ARGV[1]
-- KEYS[2]  data     hash: member -> <server milliseconds until which it is wanted, 0 for ever>:<data>
-- KEYS[3]  memo     hash from the numbers of the requests of one client to what they were answered
-- KEYS[4..] scores  of each period a sorted set, the best (the lowest) first. Of a "dense" or "first" board each
--                   is followed by what else it has. dense: a sorted set of the scores that somebody has; first:
--                   a hash member -> turn, '' -> turns given so far, and its members are <turn><member>
-- ARGV[1]  kept     '<plain|dense|first> <high|low>'
-- ARGV[2]  ties     'competition', 'dense', 'ordinal' or 'first'
-- ARGV[3]  number   of this request, counted by the client
-- ARGV[4]  window   requests of a client that are remembered
-- ARGV[5]  remember milliseconds for which they are
-- ARGV[6]  mode     'set', 'best', 'add', 'remove', 'data' (that of members on the board, no score)
-- ARGV[7]  most     members in a period; '0' any number
-- ARGV[8]  told     which of the periods the answer is about, from 1
-- ARGV[9]  whole    '1': these are all the periods of the board, so who is in none of them has left it
-- ARGV[10] endless  '1': the board has a period that does not end
-- ARGV[11] periods  how many there are here
-- ARGV[12..] period begins, ends (server milliseconds, ends '0': no bounds), expires (likewise; '0' never),
--                   sure ('1': one of its kind always runs); behind them all, per item: member, score, data
--                   ('' none). Of 'add', each member once: the sums are looked at before anything is done
-- returns  per item 'rank score previous_rank', 0 for no rank; of remove and data '1' if the member was there;
--          all in one string. {'time', ms}: another period runs, nothing was done. {'late'}: nobody knows
--          any more whether it was done. {'other', kept}: the board is kept otherwise.
--          {'range', member, score}: the sum would be no exact number, nothing was done
-- retry:   by request id (the memo: a repeated request is answered what the first one was)
-- cost:    O(items * periods * log(members)), and O(1) for each member that is cut, 1000 at most
local LIMIT = 2 ^ 53
local CUT = 1000 -- of a board that was larger before `most` was lowered; the others go with later writes
local BATCH = 50 -- requests that are forgotten at once
local found = redis.call('HMGET', KEYS[3], ARGV[3], 'low')
if found[1] then return found[1] end
local number, low = tonumber(ARGV[3]), tonumber(found[2])
if low and number <= low then return {'late'} end
if not low then -- else this client has looked in the last minute
  local meta = redis.call('GET', KEYS[1])
  if meta and meta ~= ARGV[1] then return {'other', meta} end
end
local kind, ties, mode, most = string.match(ARGV[1], '^%a+'), ARGV[2], ARGV[6], tonumber(ARGV[7])

local clock -- read once, and only if it matters
local function now()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return clock
end

local periods, told, wanted, count = {}, nil, 0, tonumber(ARGV[11])
local step = kind == 'plain' and 1 or 2
for place = 1, count do
  local at = 8 + 4 * place
  local ends, expires = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local runs = ends == 0 or (now() >= tonumber(ARGV[at]) and now() < ends)
  if not runs and ARGV[at + 3] == '1' then return {'time', now()} end
  if runs then
    local first = 4 + (place - 1) * step
    local period = {scores = KEYS[first], more = KEYS[first + step - 1], expires = expires}
    periods[#periods + 1] = period
    if place == tonumber(ARGV[8]) then told = period end
    wanted = math.max(wanted, expires)
  end
end
if ARGV[10] == '1' then wanted = 0 end -- until when the data of whoever is written now is wanted; 0 for ever
local has_begun = false -- a period, with this write

local function write(score) return string.format('%.17g', score) end

-- The score of a member, and how it is written in the sorted set; nothing if it is not there.
local function find(period, member)
  local raw = member
  if kind == 'first' then
    local turn = redis.call('HGET', period.more, member)
    if not turn then return nil end
    raw = turn .. member
  end
  local score = redis.call('ZSCORE', period.scores, raw)
  if score then return tonumber(score), raw end
end

local function rank(period, score, raw)
  if ties == 'competition' then
    return redis.call('ZCOUNT', period.scores, '-inf', '(' .. write(score)) + 1
  end
  local at
  if ties == 'dense' then at = redis.call('ZRANK', period.more, write(score))
  else at = redis.call('ZRANK', period.scores, raw) end
  return at and at + 1 or 0
end

-- Of a dense board: nobody may have this score any more.
local function vacate(period, text)
  if redis.call('ZCOUNT', period.scores, text, text) == 0 then redis.call('ZREM', period.more, text) end
end

-- What is new comes before the old goes: a key that is empty for a moment loses its expiry.
local function put(period, member, old, raw, score)
  local text, fresh = write(score), member
  if kind == 'first' then
    local turn = string.format('%011x', redis.call('HINCRBY', period.more, '', 1))
    fresh = turn .. member
    redis.call('HSET', period.more, member, turn)
  end
  redis.call('ZADD', period.scores, text, fresh)
  if kind == 'dense' then redis.call('ZADD', period.more, text, text) end
  if old then
    if kind == 'first' then redis.call('ZREM', period.scores, raw) end
    if kind == 'dense' then vacate(period, write(old)) end
  elseif period.expires > 0 and redis.call('ZCARD', period.scores) == 1 then
    has_begun = true
    local expires = string.format('%.0f', period.expires)
    redis.call('PEXPIREAT', period.scores, expires)
    if kind ~= 'plain' then redis.call('PEXPIREAT', period.more, expires) end
  end
  return fresh
end

local function take(period, member, score, raw)
  redis.call('ZREM', period.scores, raw)
  if kind == 'dense' then vacate(period, write(score)) end
  if kind == 'first' then
    redis.call('HDEL', period.more, member)
    if redis.call('EXISTS', period.scores) == 0 then redis.call('DEL', period.more) end
  end
end

local function is_there(member)
  for _, period in ipairs(periods) do
    if find(period, member) then return true end
  end
  return false
end

local function cut(period)
  local over = most > 0 and redis.call('ZCARD', period.scores) - most or 0
  if over <= 0 then return end
  local worst = redis.call('ZRANGE', period.scores, -math.min(over, CUT), -1, 'WITHSCORES')
  for at = 1, #worst, 2 do
    local raw = worst[at]
    local member = kind == 'first' and string.sub(raw, 12) or raw
    take(period, member, tonumber(worst[at + 1]), raw)
    if ARGV[9] == '1' and not is_there(member) then redis.call('HDEL', KEYS[2], member) end
  end
end

-- A key that all periods share goes with the last of them; one that was endless stays so.
local function keep(key, is_fresh)
  local till = redis.call('PEXPIRETIME', key)
  if wanted == 0 then
    if till > 0 then redis.call('PERSIST', key) end
  elseif is_fresh or (till > 0 and till < wanted) then
    redis.call('PEXPIREAT', key, string.format('%.0f', wanted))
  end
end

local function note(member, data)
  local known = redis.call('HGET', KEYS[2], member)
  local till, old, longest = nil, nil, wanted
  if known then
    till, old = string.match(known, '^(%d+):(.*)$')
    longest = (till == '0' or wanted == 0) and 0 or math.max(wanted, tonumber(till))
  end
  if data == '' and (not known or longest == tonumber(till)) then return end
  redis.call('HSET', KEYS[2], member, string.format('%.0f', longest) .. ':' .. (data ~= '' and data or old))
  keep(KEYS[2], not known and redis.call('HLEN', KEYS[2]) == 1)
end

-- Without an endless period, whoever comes no more would leave his data behind: each write looks at two.
local function sweep(items)
  if wanted == 0 then return end
  local seen = redis.call('HRANDFIELD', KEYS[2], 2 * items, 'WITHVALUES')
  for at = 1, #seen, 2 do
    local till = tonumber(string.match(seen[at + 1], '^%d+'))
    if till and till > 0 and till <= now() then redis.call('HDEL', KEYS[2], seen[at]) end
  end
end

local function is_whole(value) return value % 1 == 0 end

local from = 12 + 4 * count
if mode == 'add' then
  for _, period in ipairs(periods) do
    for at = from, #ARGV, 3 do
      local old, by = find(period, ARGV[at]) or 0, tonumber(ARGV[at + 1])
      local sum = old + by
      local exact = not (is_whole(old) and is_whole(by)) or (sum - old == by and sum - by == old)
      if not exact or sum > LIMIT or sum < -LIMIT then return {'range', ARGV[at], write(old)} end
    end
  end
end

local function submit(member, score, data)
  local standing = '0 ' .. write(score) .. ' 0'
  for _, period in ipairs(periods) do
    local old, raw = find(period, member)
    local previous = period == told and old and rank(period, old, raw) or 0
    local new = score
    if old and mode == 'best' then new = math.min(old, score) end
    if old and mode == 'add' then new = old + score end
    if new ~= old then raw = put(period, member, old, raw, new) end
    cut(period)
    if period == told then
      local place = 0
      if new == old and most == 0 then place = previous
      elseif most == 0 or redis.call('ZSCORE', period.scores, raw) then place = rank(period, new, raw) end
      standing = string.format('%.0f %s %.0f', place, write(new), previous)
    end
  end
  if data ~= '' or (wanted > 0 and redis.call('EXISTS', KEYS[2]) == 1) then
    if (most == 0 and periods[1]) or is_there(member) then note(member, data) end
  end
  return standing
end

local function remove(member)
  local was = '0'
  for _, period in ipairs(periods) do
    local score, raw = find(period, member)
    if score then
      take(period, member, score, raw)
      was = '1'
    end
  end
  if ARGV[9] == '1' then redis.call('HDEL', KEYS[2], member) end
  return was
end

local function describe(member, data)
  if not is_there(member) then return '0' end
  if data == '' then redis.call('HDEL', KEYS[2], member) else note(member, data) end
  return '1'
end

local answers = {}
for at = from, #ARGV, 3 do
  local member = ARGV[at]
  if mode == 'remove' then answers[#answers + 1] = remove(member)
  elseif mode == 'data' then answers[#answers + 1] = describe(member, ARGV[at + 2])
  else answers[#answers + 1] = submit(member, tonumber(ARGV[at + 1]), ARGV[at + 2]) end
end
local answer = table.concat(answers, ' ')

if periods[1] then
  if not low or has_begun then keep(KEYS[1], redis.call('SET', KEYS[1], ARGV[1], 'NX')) end
  sweep(#answers)
end
-- `low` never goes down, though requests may overtake each other: what was forgotten stays forgotten.
local least = math.max(0, number - ARGV[4])
if not low then low = least
elseif least - low >= ARGV[4] + BATCH then
  redis.call('DEL', KEYS[3]) -- the client had no luck for long: nothing in it is as new as that
  low = least
elseif least - low >= BATCH then -- seldom, many at a time
  local gone = {}
  for old = low + 1, least do gone[#gone + 1] = string.format('%.0f', old) end
  redis.call('HDEL', KEYS[3], unpack(gone))
  low = least
end
redis.call('HSET', KEYS[3], ARGV[3], answer, 'low', string.format('%.0f', low))
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return answer
