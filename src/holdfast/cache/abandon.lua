#!lua flags=allow-oom
-- cache/abandon: give a lease back unused, and wake whoever waits for it.
--
-- KEYS[1]  lease
-- ARGV[1]  token     the lease is given back only if it holds this
-- ARGV[2]  throttle  milliseconds for which nobody shall try again, since there is something stale to serve; 0: none
-- returns  1 given back, 0 it was not ours any more
-- retry:   safe
-- cost:    O(1)
local ours = redis.call('GET', KEYS[1]) == ARGV[1]
if ours and ARGV[2] ~= '0' then
  redis.call('SET', KEYS[1], 'T:' .. ARGV[1], 'PX', ARGV[2])
elseif ours then
  redis.call('DEL', KEYS[1])
end
redis.pcall('SPUBLISH', KEYS[1], 'abandoned')
return ours and 1 or 0
