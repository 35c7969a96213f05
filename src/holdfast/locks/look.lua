-- locks/look: who has the lock, who waits, and what is known about it.
--
-- KEYS[1]  lock
-- KEYS[2]  fence
-- KEYS[3]  wanted   a request to give it back
-- KEYS[4]  queue    of a fair lock
-- KEYS[5]  count    how often somebody found it held
-- returns  {value or false, pttl, last fence or false, the request or false, tickets, contended, server ms}
-- retry:   safe
-- cost:    O(1)
local time = redis.call('TIME')
return {
  redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[2]),
  redis.call('GET', KEYS[3]), redis.call('ZCARD', KEYS[4]), tonumber(redis.call('GET', KEYS[5]) or 0),
  time[1] * 1000 + math.floor(time[2] / 1000),
}
