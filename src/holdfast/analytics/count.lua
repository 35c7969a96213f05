#!lua
-- analytics/count: add to the buckets of a counter, once.
--
-- KEYS[1]  memo      number of this client's last request
-- KEYS[2..] chunks   hashes: start of a bucket, in seconds after that of its chunk -> count
-- ARGV[1]  number    of this request, counted by its client
-- ARGV[2]  remember  milliseconds for which the memo is kept
-- ARGV[3..] pieces   of each chunk: its ttl in milliseconds, number of buckets, and of each its field and what
--                    to add
-- returns  {1 counted, 0 it had been before; buckets that took nothing: full, or no hash}
-- retry:   by request id (the memo: a repeated request changes nothing)
-- cost:    O(buckets), and in a compact hash its length
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return {0, 0} end
-- First: what fails in the middle is then counted in part, and never twice.
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local at, failed = 3, 0
for key = 2, #KEYS do
  local last = at + 1 + 2 * ARGV[at + 1]
  for place = at + 2, last, 2 do
    local told = redis.pcall('HINCRBY', KEYS[key], ARGV[place], ARGV[place + 1])
    if type(told) == 'table' then failed = failed + 1 end
  end
  redis.call('PEXPIRE', KEYS[key], ARGV[at])
  at = last + 1
end
return {1, failed}
