-- limits/log: every hit, in a list.
--
-- returns  nothing by itself: rules.py puts it into book.lua, see there what a kind is
-- retry:   safe
-- cost:    O(entries that have expired)
-- Every hit, as `time cost` in a list, the oldest first. `total` is the cost of all, `entries` their number;
-- of them `gone` at the head have expired, and `added` are not written yet.
local function parsed(text)
  local time, cost = string.match(text or '', '^(%d+) (%d+)$')
  return tonumber(time), tonumber(cost)
end
local function entry(limit, place)
  local text = limit.page[place - limit.from + 1]
  if not text then
    limit.from, limit.page = place, redis.call('LRANGE', limit.list, place, place + 31)
    text = limit.page[1]
  end
  return parsed(text)
end
kinds.l = {
  size = 2,
  load = function(limit, book, numbers, place)
    limit.total, limit.entries = numbers[place], numbers[place + 1]
    limit.from, limit.page, limit.gone, limit.added = 0, {}, 0, {}
    local length = redis.pcall('LLEN', limit.list)
    if length ~= limit.entries then -- a part is missing, or it is something else: count what there is
      limit.total, limit.entries = 0, 0
      limit.torn = type(length) ~= 'number'
      for _, text in ipairs(limit.torn and {} or redis.call('LRANGE', limit.list, 0, -1)) do
        local time, cost = parsed(text)
        limit.torn = limit.torn or not time
        limit.total, limit.entries = limit.total + (cost or 0), limit.entries + 1
      end
      if limit.torn then limit.total, limit.entries = 0, 0 end
    end
    while limit.gone < limit.entries do
      local time, cost = entry(limit, limit.gone)
      if not time or time > book.now - limit.token then break end
      limit.gone, limit.total = limit.gone + 1, limit.total - cost
    end
  end,
  fresh = function(limit, book) limit.acts.load(limit, book, {0, 0}, 1) end,
  write = function(limit, into)
    into[#into + 1], into[#into + 2] = limit.total, limit.entries - limit.gone + #limit.added
  end,
  used = function(limit) return limit.total end,
  adopt = function(limit, used, book)
    local more = min(limit.capacity, ceil(used)) - limit.total
    if more > 0 then limit.acts.charge(limit, book, more, book.at) end
  end,
  slot = function(limit, book, cost)
    if cost > limit.capacity then return nil end
    local excess, place, moment = limit.total + cost - limit.capacity, limit.gone, book.at
    while excess > 0 do
      local time, freed = entry(limit, place)
      if not time then return book.at + limit.token end -- only what is not written yet is left
      excess, place, moment = excess - freed, place + 1, max(moment, time + limit.token)
    end
    return moment
  end,
  charge = function(limit, _, cost, moment)
    limit.total, limit.added[#limit.added + 1] = limit.total + cost, digits(moment) .. ' ' .. digits(cost)
  end,
  keeps = function(limit, book) return book.now - limit.token + 1 end,
  refund = function(limit, _, cost)
    cost = min(cost, limit.total)
    limit.total = limit.total - cost
    while cost > 0 do
      local time, had = parsed(redis.call('RPOP', limit.list))
      if not time then break end
      limit.entries = limit.entries - 1
      if had > cost then limit.added[1] = digits(time) .. ' ' .. digits(had - cost) end
      cost = cost - had
    end
  end,
  left = function(limit) return max(0, limit.capacity - limit.total) end,
  rest = function(limit, book)
    if limit.entries == limit.gone and not limit.added[1] then return 0 end
    local newest = parsed(limit.added[#limit.added] or redis.call('LINDEX', limit.list, -1))
    return newest and newest + limit.token - book.now or 0
  end,
  save = function(limit, ttl)
    if limit.torn then redis.call('DEL', limit.list) end
    if limit.gone > 0 then redis.call('LPOP', limit.list, limit.gone) end
    if limit.added[1] then redis.call('RPUSH', limit.list, unpack(limit.added)) end
    redis.call('PEXPIRE', limit.list, ttl)
  end,
}
