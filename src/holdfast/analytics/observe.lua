#!lua
-- analytics/observe: add observations to the histograms of their buckets.
--
-- KEYS[1]  memo      number of this client's last request
-- KEYS[2..] cells    hashes, in the order of the pieces: step -> observations in it; 's' their sum, 'l' the
--                    lowest, 'h' the highest of them
-- ARGV[1]  number    of this request, counted by its client
-- ARGV[2]  remember  milliseconds for which the memo is kept
-- ARGV[3..] pieces   of each: number of cells, number of fields, the ttl of each cell in milliseconds, and
--                    each field with what is added to it: a step, 's', 'l' or 'h'
-- returns  1 counted, 0 it had been before
-- retry:   by request id (the memo: a repeated request changes nothing)
-- cost:    O(cells * fields)
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local at, key = 3, 1
while at <= #ARGV do
  local cells, fields = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local first = at + 2 + cells
  local last = first + 2 * fields - 1
  for cell = 1, cells do
    local name = KEYS[key + cell]
    for place = first, last, 2 do
      local field, more = ARGV[place], ARGV[place + 1]
      if field == 's' or field == 'l' or field == 'h' then
        local known = redis.call('HGET', name, field)
        if field == 's' then
          redis.call('HSET', name, 's', string.format('%.17g', (known or 0) + more))
        elseif not known or (tonumber(more) < tonumber(known)) == (field == 'l') then
          redis.call('HSET', name, field, more)
        end
      else
        redis.call('HINCRBY', name, field, more)
      end
    end
    redis.call('PEXPIRE', name, ARGV[at + 1 + cell])
  end
  key, at = key + cells, last + 1
end
return 1
