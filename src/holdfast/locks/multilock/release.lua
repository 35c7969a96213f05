#!lua flags=allow-oom
-- multilock/release: give the locks of one slot back, those that are ours, and wake who waits for them.
--
-- KEYS[1]  tomb     keeps a request for this lease that is still on its way from being granted
-- KEYS[2..] locks   three for each name: the lock, also the channel of those who wait; a request to give it
--                   back; the queue of a fair lock, tickets by token
-- ARGV[1]  token    of the lease
-- ARGV[2]  keep     milliseconds for which there may be such a request; 0: there is none
-- returns  how many were given back; the others were not ours any more
-- retry:   never (the second time they are not ours any more; the caller repeats it, and knows)
-- cost:    O(n log q) for n names where q wait in a fair queue
local count = 0
if ARGV[2] ~= '0' then redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) end
for place = 2, #KEYS, 3 do
  local held = redis.call('GET', KEYS[place])
  if held and string.sub(held, 1, 33) == ARGV[1] .. ':' then
    count = count + 1
    redis.call('DEL', KEYS[place], KEYS[place + 1])
    redis.pcall('SPUBLISH', KEYS[place], 'free')
    local first = redis.call('ZRANGE', KEYS[place + 2], 0, 0)[1]
    if first then redis.pcall('SPUBLISH', KEYS[place + 2] .. ':w:' .. first, 'free') end
  end
end
return count
