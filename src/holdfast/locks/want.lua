#!lua flags=allow-oom
-- locks/want: ask whoever has the lock to give it back. He hears of it at once where the server tracks keys for
-- him, and at his next renewal otherwise.
--
-- KEYS[1]  lock
-- KEYS[2]  wanted   the request, '<token>:<reason>': it is for this holder, not for the next
-- ARGV[1]  reason   for whoever looks
-- returns  1 somebody was asked, 0 nobody has it, or somebody who cannot be asked
-- retry:   safe
-- cost:    O(1)
local held = redis.call('GET', KEYS[1])
local token = held and string.match(held, '^(%x+):%d+:%d+:')
if not token then return 0 end
redis.call('SET', KEYS[2], token .. ':' .. ARGV[1], 'PX', 86400000)
return 1
