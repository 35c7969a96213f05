#!lua
-- operations/checkpoint: keep how far an operation has come.
--
-- KEYS[1]  record  see begin.lua
-- ARGV[1]  fence   of the attempt that asks
-- ARGV[2]  field   'c:' and the name of the checkpoint
-- ARGV[3]  number  8 digits, higher with every checkpoint of this operation
-- ARGV[4]  data
-- returns  1 kept; 0 there is no such operation; -1 somebody else's, or settled
-- retry:   safe (a request that comes late finds a higher number, and changes nothing)
-- cost:    O(size of the data)
local known = redis.call('HMGET', KEYS[1], 'state', 'fence', ARGV[2])
if not known[1] then return 0 end
if known[1] ~= 'running' or known[2] ~= ARGV[1] then return -1 end
if not known[3] or string.sub(known[3], 1, 8) < ARGV[3] then
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[3] .. ARGV[4])
end
return 1
