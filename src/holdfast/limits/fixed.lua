-- limits/fixed: windows of `token` microseconds that begin at its multiples.
--
-- returns  nothing by itself: rules.py puts it into book.lua, see there what a kind is
-- retry:   safe
-- cost:    O(1)
kinds.f = {
  size = 1,
  load = function(limit, book, numbers, place)
    limit.count = start(limit, book) > book.reached and 0 or numbers[place]
  end,
  fresh = function(limit) limit.count = 0 end,
  write = function(limit, into) into[#into + 1] = limit.count end,
  used = function(limit) return limit.count end,
  adopt = function(limit, used) limit.count = min(limit.capacity, ceil(used)) end,
  slot = function(limit, book, cost)
    if cost > limit.capacity then return nil end
    return limit.count + cost <= limit.capacity and book.at or start(limit, book) + limit.token
  end,
  charge = function(limit, book, cost, moment)
    if moment >= start(limit, book) + limit.token then limit.count = 0 end
    limit.count = min(DEEPEST, limit.count + cost)
  end,
  keeps = start,
  refund = function(limit, _, cost) limit.count = max(0, limit.count - cost) end,
  left = function(limit) return max(0, limit.capacity - limit.count) end,
  rest = function(limit, book)
    return limit.count == 0 and 0 or start(limit, book) + limit.token - book.now
  end,
}
