#!lua
-- analytics/unique: add members to the sketches of their buckets.
--
-- KEYS[1..] cells    HyperLogLogs, in the order of the pieces
-- ARGV[1..] pieces   of each: number of cells, number of members, the ttl of each cell in milliseconds, the
--                    members
-- returns  number of cells written
-- retry:   safe (a member counts once, however often it comes)
-- cost:    O(cells * members)
local MOST = 1000 -- arguments of one command
local at, key = 1, 0
while at <= #ARGV do
  local cells, members = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local first = at + 2 + cells
  local last = first + members - 1
  for cell = 1, cells do
    local sketch = KEYS[key + cell]
    for from = first, last, MOST do
      redis.pcall('PFADD', sketch, unpack(ARGV, from, math.min(last, from + MOST - 1)))
    end
    redis.call('PEXPIRE', sketch, ARGV[at + 1 + cell])
  end
  key, at = key + cells, last + 1
end
return key
