-- limits/set_plan: write a plan for the whole fleet, or remove it.
--
-- KEYS[1]  plans  hash: limits by the name of the plan; under '' what changes with every change
-- ARGV[1]  name   of the plan
-- ARGV[2]  limits as plans.py writes them; '' removes the plan
-- returns  1 it was changed, 0 there was nothing to change
-- retry:   safe
-- cost:    O(1)
if ARGV[2] == '' then
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
-- Not a count: after a FLUSHALL it would come by the same numbers again, and nobody would look.
local time = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[1], '') or 0)
redis.call('HSET', KEYS[1], '', string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1)))
return 1
