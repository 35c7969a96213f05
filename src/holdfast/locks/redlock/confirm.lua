#!lua flags=allow-oom
-- redlock/confirm: write the fence of a grant to this node, if the lock is still ours here.
--
-- KEYS[1]  lock
-- KEYS[2]  fence    the greatest one that was written here
-- ARGV[1]  token    of the attempt
-- ARGV[2]  fence    of this grant
-- ARGV[3]  history  milliseconds that the fence outlives its last grant
-- returns  1 written, 0 the lock is not ours
-- retry:   safe
-- cost:    O(1)
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, 33) ~= ARGV[1] .. ':' then return 0 end
local fence = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(ARGV[2]))
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
local rest = string.match(held, '^%x+:%d+:(.*)$')
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2] .. ':' .. rest, 'KEEPTTL')
return 1
