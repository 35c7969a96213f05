#!lua
-- analytics/top: count items in the tops of their buckets, which keep the most frequent ones.
--
-- A top is full when it has `capacity` items; then the rarest one has to go. No item that is absent has come
-- more often than the floor says: the highest count of any that had to go. So an item that comes (again) is
-- given the floor in advance, and that much its count may be too high.
--
-- KEYS[1]  memo      number of this client's last request
-- KEYS[2..] tops     of each cell two keys, in the order of the pieces: a zset, item -> count; a hash, item ->
--                    by how much that may be too high, and '' -> the floor
-- ARGV[1]  number    of this request, counted by its client
-- ARGV[2]  remember  milliseconds for which the memo is kept
-- ARGV[3]  capacity  items
-- ARGV[4..] pieces   of each: number of cells, number of items, the ttl of each cell in milliseconds, and
--                    each item with how often it came
-- returns  1 counted, 0 it had been before
-- retry:   by request id (the memo: a repeated request changes nothing)
-- cost:    O(cells * items * log(capacity))
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local capacity, at, key = tonumber(ARGV[3]), 4, 1
while at <= #ARGV do
  local cells, items = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local first = at + 2 + cells
  local last = first + 2 * items - 1
  for cell = 1, cells do
    local counts, errors, ttl = KEYS[key + 2 * cell - 1], KEYS[key + 2 * cell], ARGV[at + 1 + cell]
    local floor = tonumber(redis.call('HGET', errors, '') or 0)
    for place = first, last, 2 do
      local item, count = ARGV[place], ARGV[place + 1]
      if floor > 0 and not redis.call('ZSCORE', counts, item) then
        redis.call('HSET', errors, item, string.format('%.0f', floor))
        count = string.format('%.0f', count + floor)
      end
      redis.call('ZINCRBY', counts, count, item)
    end
    local excess = redis.call('ZCARD', counts) - capacity
    if excess > 0 then
      local gone = redis.call('ZPOPMIN', counts, excess)
      for place = 1, #gone, 2 do redis.call('HDEL', errors, gone[place]) end
      redis.call('HSET', errors, '', string.format('%.0f', math.max(floor, gone[#gone])))
    end
    redis.call('PEXPIRE', counts, ttl)
    redis.call('PEXPIRE', errors, ttl)
  end
  key, at = key + 2 * cells, last + 1
end
return 1
