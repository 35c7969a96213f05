-- limits/gcra: a bucket that leaks: each unit of time drains `drain`; a cost of 1 fills in `token`.
--
-- returns  nothing by itself: rules.py puts it into book.lua, see there what a kind is
-- retry:   safe
-- cost:    O(1)
kinds.g = {
  size = 1,
  load = function(limit, book, numbers, place)
    limit.backlog = max(0, numbers[place] - units(limit, book.before, book.now) * limit.drain)
  end,
  fresh = function(limit) limit.backlog = 0 end,
  write = function(limit, into) into[#into + 1] = limit.backlog end,
  used = function(limit) return limit.backlog / limit.token end,
  adopt = function(limit, used) limit.backlog = min(limit.capacity, ceil(used * limit.token)) end,
  slot = function(limit, book, cost)
    local excess = limit.backlog + cost * limit.token - limit.capacity
    if cost * limit.token > limit.capacity then return nil end
    if excess <= 0 then return book.at end
    return max(book.at, book.now - book.now % limit.unit + ceil(excess / limit.drain) * limit.unit)
  end,
  charge = function(limit, book, cost, moment)
    -- What would drain until then must not let others in before: they would all be there at that moment.
    local idle = units(limit, book.now, moment) * limit.drain
    limit.backlog = min(DEEPEST, max(limit.backlog, idle) + cost * limit.token)
  end,
  keeps = function(limit, book)
    return limit.drain > 0 and book.now - limit.capacity / limit.drain * limit.unit or 0
  end,
  refund = function(limit, _, cost) limit.backlog = max(0, limit.backlog - cost * limit.token) end,
  left = function(limit) return floor(max(0, limit.capacity - limit.backlog) / limit.token) end,
  rest = function(limit, book)
    return limit.backlog == 0 and 0 or ceil(limit.backlog / limit.drain) * limit.unit - book.now % limit.unit
  end,
}
