#!lua
-- analytics/active: note who was active in some buckets.
--
-- Ids are numbers. Those that share the upper bits are a chunk: a set while they are few and a bitmap then, so
-- that the memory follows the ids in use. Names get numbers in the order in which they come, from 2**32 on.
--
-- KEYS[1]  numbers   hash: name -> number, without the 2**32
-- KEYS[2..] cells    sets of the chunks of each cell, in the order of the pieces; behind a key, ':' and a
--                    chunk, its ids
-- ARGV[1..] pieces   of each: number of cells, number of ids, the ttl of each cell in milliseconds, the ids:
--                    decimal digits, or '=' and a name
-- returns  number of cells written
-- retry:   safe (an id counts once, however often it comes)
-- cost:    O(cells * ids)
local CHUNK, NAMED, FEW, MOST = 65536, 4294967296, 512, 1000
local keep, named = 0, false

local function number_of(name)
  local number = redis.call('HGET', KEYS[1], name)
  if not number then
    number = redis.call('HLEN', KEYS[1])
    redis.call('HSET', KEYS[1], name, number)
  end
  return NAMED + number
end

local function note(chunk, lows)
  local kind = redis.call('TYPE', chunk).ok
  if kind ~= 'string' then
    local had = kind == 'set' and redis.call('SCARD', chunk) or 0
    if had + #lows <= FEW then
      -- Around zero, where two bytes hold each of them.
      local shifted = {}
      for place, low in ipairs(lows) do shifted[place] = low - 32768 end
      redis.call('SADD', chunk, unpack(shifted))
      return
    end
    local members = had > 0 and redis.call('SMEMBERS', chunk) or {}
    redis.call('DEL', chunk)
    for _, low in ipairs(members) do redis.call('SETBIT', chunk, low + 32768, 1) end
  end
  for from = 1, #lows, MOST do
    local bits = {}
    for place = from, math.min(#lows, from + MOST - 1) do
      local behind = #bits
      bits[behind + 1], bits[behind + 2], bits[behind + 3], bits[behind + 4] = 'SET', 'u1', lows[place], 1
    end
    redis.call('BITFIELD', chunk, unpack(bits))
  end
end

local at, key = 1, 1
while at <= #ARGV do
  local cells, ids = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local first = at + 2 + cells
  local last = first + ids - 1
  local chunks = {}
  for place = first, last do
    local id = ARGV[place]
    if string.sub(id, 1, 1) == '=' then
      named = true
      id = number_of(string.sub(id, 2))
    end
    local low = id % CHUNK
    local chunk = (id - low) / CHUNK
    local lows = chunks[chunk] or {}
    chunks[chunk], lows[#lows + 1] = lows, low
  end
  for cell = 1, cells do
    local base, ttl = KEYS[key + cell], ARGV[at + 1 + cell]
    for number, lows in pairs(chunks) do
      local chunk = string.format('%.0f', number)
      local name = base .. ':' .. chunk
      redis.call('SADD', base, chunk)
      note(name, lows)
      redis.call('PEXPIRE', name, ttl)
    end
    redis.call('PEXPIRE', base, ttl)
    keep = math.max(keep, ttl)
  end
  key, at = key + cells, last + 1
end
-- The numbers outlive every cell in which they stand.
if named and redis.call('PTTL', KEYS[1]) < keep then
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
end
return key - 1
