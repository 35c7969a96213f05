#!lua
-- _coord/guarded: run commands, all or none, if a lease is still ours. (Without the flag allow-oom, so that a full
-- server refuses all of them.)
--
-- KEYS[1]  lease    what stands there begins with the token while it is ours
-- ARGV[1]  token    of the lease
-- ARGV[2..] commands each as the number of its parts, and then these
-- returns  the replies, errors of single commands among them; or the error LEASELOST, and nothing was done
-- retry:   never (it does what the commands do)
-- cost:    O(1), and what the commands cost
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then
  return redis.error_reply('LEASELOST the lease is not ours any more')
end
local replies, place, at = {}, 0, 2
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  place = place + 1
  replies[place] = redis.pcall(unpack(ARGV, at + 1, at + parts))
  at = at + parts + 1
end
return replies
