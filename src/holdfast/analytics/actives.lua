#!lua flags=allow-oom
-- analytics/actives: how many ids were active, in the union of some buckets or in two such unions.
--
-- Writes only to scratch keys, which it deletes again; so it may do so even where memory is short.
--
-- KEYS[1]  first    scratch
-- KEYS[2]  second   scratch
-- KEYS[3..] buckets see active.lua, one group after the other
-- ARGV[1]  mode     'each': of each group, how many; 'both': of each group, how many who are in the first too
-- ARGV[2]  groups   number of groups
-- ARGV[3..] rest    number of buckets of each group; then the chunks to look at
-- returns  one count for each group
-- retry:   safe (a repeated arrival changes nothing)
-- cost:    O(buckets * chunks), of 8 KiB or 512 ids each
local MOST = 1000 -- arguments of one command
local both, groups = ARGV[1] == 'both', tonumber(ARGV[2])
local counts, sizes = {}, {}
for group = 1, groups do counts[group], sizes[group] = 0, tonumber(ARGV[2 + group]) end

-- Whoever is in any of those sets, each once.
local function ids(sets)
  if #sets <= MOST then return redis.call('SUNION', unpack(sets)) end
  local seen, found = {}, {}
  for from = 1, #sets, MOST do
    for _, low in ipairs(redis.call('SUNION', unpack(sets, from, math.min(#sets, from + MOST - 1)))) do
      if not seen[low] then
        seen[low] = true
        found[#found + 1] = low
      end
    end
  end
  return found
end

-- Make a bitmap of them: a whole one is quicker to put together here than by a command for each bit.
local function draw(scratch, lows)
  if #lows < 100 then
    for _, low in ipairs(lows) do redis.call('SETBIT', scratch, low + 32768, 1) end
    return
  end
  local bytes, parts = {}, {}
  for place = 1, 8192 do bytes[place] = 0 end
  for _, low in ipairs(lows) do
    local rest = low % 8
    local place = (low + 32768 - rest) / 8 + 1
    bytes[place] = bytes[place] + 2 ^ (7 - rest)
  end
  for from = 1, 8192, 1024 do parts[#parts + 1] = string.char(unpack(bytes, from, from + 1023)) end
  redis.call('SET', scratch, table.concat(parts))
end

-- The key of a bitmap of whoever is in one of those buckets, nil if nobody is; where nothing but their number is
-- wanted and no bitmap is needed for it, that instead.
local function union(first, size, chunk, scratch)
  local maps, sets = {}, {}
  for place = first, first + size - 1 do
    local name = KEYS[place] .. ':' .. chunk
    local kind = redis.call('TYPE', name).ok
    if kind == 'string' then maps[#maps + 1] = name elseif kind == 'set' then sets[#sets + 1] = name end
  end
  if #sets == 0 and #maps < 2 then return maps[1] end
  if #maps == 0 and not both then
    return nil, #sets == 1 and redis.call('SCARD', sets[1]) or #ids(sets)
  end
  redis.call('DEL', scratch)
  if #sets > 0 then draw(scratch, ids(sets)) end
  for from = 1, #maps, MOST do
    redis.call('BITOP', 'OR', scratch, scratch, unpack(maps, from, math.min(#maps, from + MOST - 1)))
  end
  return scratch
end

for place = 3 + groups, #ARGV do
  local chunk, from, base = ARGV[place], 3, nil
  for group = 1, groups do
    local map, number = union(from, sizes[group], chunk, (both and group > 1) and KEYS[2] or KEYS[1])
    from = from + sizes[group]
    if both and group == 1 then
      base = map
      if not base then break end
    elseif both and map then
      redis.call('BITOP', 'AND', KEYS[2], base, map)
      map = KEYS[2]
    end
    if map then number = redis.call('BITCOUNT', map) end
    counts[group] = counts[group] + (number or 0)
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
return counts
