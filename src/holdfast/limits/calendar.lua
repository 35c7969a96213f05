-- limits/calendar: a window from `unit` to `token`; which one is now, only the client can tell.
--
-- returns  nothing by itself: rules.py puts it into book.lua, see there what a kind is
-- retry:   safe
-- cost:    O(1)
kinds.c = setmetatable({
  load = function(limit, _, numbers, place) limit.count = numbers[place] end,
  used = function(limit, book)
    return limit.unit <= book.now and book.now < limit.token and limit.count or 0
  end,
  slot = function(limit, book, cost)
    if cost > limit.capacity then return nil end
    return limit.count + cost <= limit.capacity and book.at or limit.token
  end,
  charge = function(limit, _, cost) limit.count = min(DEEPEST, limit.count + cost) end,
  keeps = function(limit) return limit.unit end,
  rest = function(limit, book) return limit.count == 0 and 0 or limit.token - book.now end,
}, {__index = kinds.f})
