-- limits/sliding: two windows; the one before counts by the part that a window ending now covers.
--
-- returns  nothing by itself: rules.py puts it into book.lua, see there what a kind is
-- retry:   safe
-- cost:    O(1)
local function weight(limit, book) -- what is in it, times the window
  local from, at = start(limit, book)
  return limit.previous * (from + limit.token - at) + limit.current * limit.token
end
kinds.s = {
  size = 2,
  load = function(limit, book, numbers, place)
    limit.previous, limit.current = numbers[place], numbers[place + 1]
    limit.acts.roll(limit, book.reached, book.at)
  end,
  roll = function(limit, from, to)
    local a, b = floor(from / limit.unit), floor(to / limit.unit)
    local windows = (b - b % limit.token - (a - a % limit.token)) / limit.token
    if windows == 1 then limit.previous, limit.current = limit.current, 0 end
    if windows > 1 then limit.previous, limit.current = 0, 0 end
  end,
  fresh = function(limit) limit.previous, limit.current = 0, 0 end,
  write = function(limit, into) into[#into + 1], into[#into + 2] = limit.previous, limit.current end,
  used = function(limit, book) return weight(limit, book) / limit.token end,
  adopt = function(limit, used) limit.previous, limit.current = 0, min(limit.capacity, ceil(used)) end,
  slot = function(limit, book, cost)
    if cost > limit.capacity then return nil end
    local window, from = limit.token, start(limit, book)
    local room = limit.capacity - cost - limit.current
    local inside = window -- so far into this window it fits in
    if room >= limit.previous then
      inside = 0
    elseif room > 0 then
      inside = ceil((limit.previous - room) * window / limit.previous)
    end
    if inside < window then return max(book.at, (from + inside) * limit.unit) end
    room, inside = limit.capacity - cost, 0
    if limit.current > room then inside = ceil((limit.current - room) * window / limit.current) end
    return (from + window + inside) * limit.unit
  end,
  charge = function(limit, book, cost, moment)
    limit.acts.roll(limit, book.at, moment)
    limit.current = min(floor(DEEPEST / 2 / limit.token), limit.current + cost)
  end,
  keeps = function(limit, book) return (start(limit, book) - limit.token) * limit.unit end,
  refund = function(limit, book, cost, since)
    local here = since < start(limit, book) * limit.unit and 0 or min(cost, limit.current)
    limit.current, limit.previous = limit.current - here, max(0, limit.previous - (cost - here))
  end,
  left = function(limit, book)
    return floor(max(0, limit.capacity * limit.token - weight(limit, book)) / limit.token)
  end,
  rest = function(limit, book)
    local windows = limit.current > 0 and 2 or limit.previous > 0 and 1 or 0
    return windows == 0 and 0 or (start(limit, book) + windows * limit.token) * limit.unit - book.now
  end,
}
