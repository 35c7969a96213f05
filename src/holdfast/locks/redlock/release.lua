#!lua flags=allow-oom
-- redlock/release: give the lock back on this node; where it is not ours, keep a claim that is still on its way from
-- succeeding.
--
-- KEYS[1]  lock
-- KEYS[2]  tomb   keeps the claim from succeeding later
-- ARGV[1]  token  of the attempt
-- ARGV[2]  keep   milliseconds for which a claim may still be on its way
-- returns  1 it was ours and is free, 0 it was not
-- retry:   safe
-- cost:    O(1)
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
  redis.call('DEL', KEYS[1])
  return 1
end
redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
return 0
