-- limits/book: what a subject has used of its limits; the scripts that decide about that begin with this part.
--
-- returns  nothing by itself: rules.py puts it into the others, where they say "book.lua comes here"
-- retry:   safe
-- cost:    O(limits of the subject), and of a log O(its entries that have expired)
--
-- Limits come as text, `kind label unit token drain capacity;` each; a kind in capitals is in shadow mode. The
-- same text begins the state of a subject, so one can see whether its limits have changed. Behind it come '|'
-- and doubles, which are exact up to 2^53: offset, time, booked; then for each limit the numbers of its kind.
--
-- Time is the subject's own: the server's clock in microseconds, plus the offset. When the clock is set back
-- (by a failover to another machine, say) the offset grows: the time of the subject stands still for an
-- instant, and then goes on. `booked` is the last moment to come that somebody waits for; nothing comes before.
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local DEEPEST = 2 ^ 52

local function digits(number) return string.format('%.0f', number) end

-- A kind is a table of functions of a limit and the book (which has now, at = max(now, booked); and before,
-- which was the time, and reached, which was `at`, when the numbers were written):
--   size     how many numbers it has in a state; write(limit, into) adds them
--   load     takes the numbers of a state up to now; fresh: there are none
--   used     the cost that is in it; adopt(limit, used, book): the reverse, when a limit has changed
--   slot     the first moment from `at` on when a cost fits in; nil: never
--   charge   a cost is used at a moment at which it fits in (or not: then it is in debt)
--   keeps    the earliest moment whose costs are still in it; refund gives back what is
--   left     the cost that fits in now; rest: microseconds until it is as if unused
-- Only those that the limiter needs are here; if a text tells another one, `missing` says so.
local kinds, missing = {}, false

local function units(limit, from, to) -- whole ones, between two moments
  return (to - to % limit.unit - (from - from % limit.unit)) / limit.unit
end
local function start(limit, book) -- in units, of the window in which `at` is
  local at = floor(book.at / limit.unit)
  return at - at % limit.token, at
end

-- kinds come here

-- The limits that `text` tells; nil if it does not tell any.
local function told(text, key)
  local limits, at, size = {}, 1, 3
  while at <= #text do
    local _, stop, kind, label, unit, token, drain, capacity =
      string.find(text, '^(%a) (%S+) (%d+) (%d+) (%d+) (%d+);', at)
    local acts = kind and kinds[string.lower(kind)]
    if not acts then
      missing = missing or kind and string.find('gsfcl', string.lower(kind), 1, true)
      return nil
    end
    limits[#limits + 1] = {
      acts = acts, label = label, shadow = kind < 'a', list = acts == kinds.l and key .. ':l:' .. label,
      unit = tonumber(unit), token = tonumber(token), drain = tonumber(drain), capacity = tonumber(capacity),
    }
    size, at = size + acts.size, stop + 1
  end
  limits.size = size
  return limits[1] and limits
end

-- The numbers of a state whose text is `size` long; nil if they are none of ours.
local function counted(state, size, count)
  if #state ~= size + 1 + 8 * count then return nil end
  local numbers = {struct.unpack('<' .. string.rep('d', count), state, size + 2)}
  for place = 1, count do
    local number = numbers[place]
    if not (number >= 0 and number < 2 * DEEPEST and number % 1 == 0) then return nil end
  end
  return numbers
end

local function alike(old, limit) -- so much that the numbers of one are those of the other?
  if old == limit then return true end
  if old.acts ~= limit.acts then return false end
  if limit.acts == kinds.l then return true end
  if old.unit ~= limit.unit or old.token ~= limit.token or old.drain ~= limit.drain then return false end
  return old.capacity == limit.capacity or limit.acts ~= kinds.g
end

-- The book of a subject as it stands in `state`, at this moment. `text`: its limits; without it, those of then.
-- Where a window of the calendar is over, the book has `stale`, and nothing more.
local function read(key, state, text, clock)
  local stop = state and string.find(state, '|', 1, true)
  local then_told = stop and string.sub(state, 1, stop - 1)
  local book = {key = key, text = text or then_told, state = state or ''}
  local limits = told(book.text, key) or {}
  assert(limits[1] or missing, 'no limits: ' .. book.text)
  local known = then_told == book.text and limits or then_told and told(then_told, key)
  local numbers = known and counted(state, stop - 1, known.size)
  local offset, before, booked = unpack(numbers or {0, clock, 0})
  if clock + offset < before then
    offset, book.moved = before - clock, true
  end
  book.limits, book.offset, book.booked = limits, offset, booked
  book.before, book.reached, book.now = before, max(before, booked), clock + offset
  book.at = max(book.now, booked)
  local places, place = {}, 4
  for _, old in ipairs(numbers and known or {}) do
    places[old.label] = {old, place}
    place = place + old.acts.size
  end
  for _, limit in ipairs(limits) do
    if limit.acts == kinds.c and (book.now < limit.unit or book.now >= limit.token) then
      book.stale = true
      return book
    end
    local old, from = unpack(places[limit.label] or {})
    if not old then
      limit.acts.fresh(limit, book)
    elseif alike(old, limit) then
      limit.acts.load(limit, book, numbers, from)
    else -- it was changed: what was used of the old one counts
      old.acts.load(old, book, numbers, from)
      limit.acts.fresh(limit, book)
      limit.acts.adopt(limit, old.acts.used(old, book), book)
    end
  end
  return book
end

-- The same as it stands at `key`. The subject may have limits of its own, at `own`.
local function open(key, own, text, clock)
  local found = redis.call('MGET', key, own) -- something else that is there counts as nothing
  local special = found[2] and string.match(found[2], '^([^|]+)|')
  if special and not told(special, key) then special = nil end
  local book = read(key, found[1], special or text, clock)
  book.own = special and found[2]
  return book
end

-- When may it be done, with all limits that count? nil: never. And for each limit, when with that one alone.
local function slots(book, cost)
  local moment, each = book.at, {}
  for place, limit in ipairs(book.limits) do
    local slot = limit.acts.slot(limit, book, cost)
    each[place] = slot
    if not limit.shadow then moment = moment and slot and max(moment, slot) end
  end
  return moment, each
end

local function save(book)
  local numbers, rest = {book.offset, book.now, book.booked}, book.booked - book.now
  for _, limit in ipairs(book.limits) do
    limit.acts.write(limit, numbers)
    rest = max(rest, limit.acts.rest(limit, book))
  end
  local state = book.text .. '|' .. struct.pack('<' .. string.rep('d', #numbers), unpack(numbers))
  local ttl = digits(ceil(max(0, rest) / 1000) + 1) -- to the end of what is used; at 1 it is as good as gone
  redis.call('SET', book.key, state, 'PX', ttl)
  for _, limit in ipairs(book.limits) do
    if limit.acts.save then limit.acts.save(limit, ttl) end
  end
  return state
end

-- Writes down that `cost` is used at `moment`, where `each` says that it fits in. Returns the state.
local function charge(book, cost, moment, each)
  for place, limit in ipairs(book.limits) do
    if each[place] and each[place] <= moment then limit.acts.charge(limit, book, cost, moment) end
  end
  if moment > book.now then book.booked, book.at = moment, moment end
  return save(book)
end

-- Adds to `reply` for each limit: what fits in now, when the cost does (-1 never), when it is as if unused; in
-- microseconds from now. At the end the subject's own limits, if it has any.
local function report(book, reply, each, moment)
  for place, limit in ipairs(book.limits) do
    local slot, count = each[place], #reply
    reply[count + 1] = book.at > book.now and 0 or limit.acts.left(limit, book)
    reply[count + 2] = not slot and -1 or slot <= moment and 0 or slot - book.now
    reply[count + 3] = limit.acts.rest(limit, book)
  end
  if book.own then reply[#reply + 1] = book.own end
  return reply
end
