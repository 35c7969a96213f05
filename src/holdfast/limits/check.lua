#!lua
-- limits/check: charge a cost to all limits of a subject, or to none; or only look.
--
-- KEYS[1]  state    what it has used, see book.lua
-- KEYS[2]  own      limits of its own, if it has any
-- ARGV[1]  limits   as text, see book.lua
-- ARGV[2]  cost     at least 1
-- ARGV[3]  charge   '1' or, to only look, '0'
-- ARGV[4..] plain  token, drain and capacity of each limit once more, if all are buckets in microseconds, and count
-- returns  {0 allowed or -1 denied, then for each limit: left, microseconds until the cost fits in (-1 never),
--          microseconds until it is as if unused; then its own limits, if it has any};
--          {-2, now} if a window of the calendar is over; {-3} if it takes a kind that is not in this script
-- retry:   never (it would be charged twice)
-- cost:    O(limits), and of a log O(its entries that have expired)
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
local cost = tonumber(ARGV[2])
if ARGV[4] and ARGV[3] == '1' then -- what is nearly always asked; the same as below, without detours
  local text, count, found = ARGV[1], (#ARGV - 3) / 3, redis.call('MGET', KEYS[1], KEYS[2])
  local form, state = '<ddd' .. string.rep('d', count), found[1]
  local numbers, plain = {0, clock, 0}, not found[2]
  if state and plain then
    plain = #state == #text + 25 + 8 * count and string.sub(state, 1, #text) == text
    if plain then numbers = {struct.unpack(form, state, #text + 2)} end
  end
  local now = clock + numbers[1]
  local passed = now - numbers[2]
  if plain and passed >= 0 and numbers[3] <= now then
    local reply, allowed, rest = {0}, true, 0
    for place = 1, count do
      local backlog = math.max(0, (numbers[3 + place] or 0) - passed * ARGV[3 * place + 2])
      local need, room = cost * ARGV[3 * place + 1], ARGV[3 * place + 3] - backlog
      numbers[3 + place], reply[3 * place] = backlog, 0
      if need > room then
        allowed = false
        local never = need > room + backlog
        reply[3 * place] = never and -1 or math.ceil((need - room) / ARGV[3 * place + 2])
      end
    end
    for place = 1, count do
      local token, drain, capacity = ARGV[3 * place + 1], ARGV[3 * place + 2], ARGV[3 * place + 3]
      local backlog = numbers[3 + place] + (allowed and cost * token or 0)
      local ends = backlog > 0 and math.ceil(backlog / drain) or 0
      numbers[3 + place], rest = backlog, math.max(rest, ends)
      reply[3 * place - 1], reply[3 * place + 1] = math.max(0, math.floor((capacity - backlog) / token)), ends
    end
    if allowed then
      numbers[2] = now
      state = text .. '|' .. struct.pack(form, unpack(numbers))
      redis.call('SET', KEYS[1], state, 'PX', string.format('%.0f', math.ceil(rest / 1000) + 1))
    else
      reply[1] = -1
    end
    return reply
  end
end
-- book.lua comes here
local book = open(KEYS[1], KEYS[2], ARGV[1], clock)
if missing then return {-3} end
if book.stale then return {-2, book.now} end
local moment, each = slots(book, cost)
local allowed = moment == book.now
if ARGV[3] == '1' then
  local expired = 0
  for _, limit in ipairs(book.limits) do expired = max(expired, limit.gone or 0) end
  if allowed then
    charge(book, cost, moment, each)
  elseif book.moved or expired > 32 then -- or every denial would have the same work again
    save(book)
  end
end
return report(book, {allowed and 0 or -1}, each, book.now)
