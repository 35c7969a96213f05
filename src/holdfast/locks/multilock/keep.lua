#!lua flags=allow-oom
-- multilock/keep: have the locks of one slot for their whole ttl again, those that are ours.
--
-- KEYS[1..] locks   and then, in the same order, the requests to give them back, '<token>:<reason>'; these
--                   may be left out
-- ARGV[1]  token    of the lease
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  names    how many locks there are
-- returns  1 all ours, 2 all ours and one wanted back, 0 one is nobody's, -1 one is somebody else's
-- retry:   safe
-- cost:    O(n) for n names
local count, answer = tonumber(ARGV[3]), 1
for place = 1, count do
  local held = redis.call('GET', KEYS[place])
  if not held then
    answer = math.min(answer, 0)
  elseif string.sub(held, 1, 33) ~= ARGV[1] .. ':' then
    answer = -1
  else
    redis.call('PEXPIRE', KEYS[place], ARGV[2])
  end
end
-- Read last: what is read, and found missing, the server tracks, and tells us when it changes.
for place = 1, count do redis.call('GET', KEYS[place]) end
for place = count + 1, #KEYS do
  local wanted = redis.call('GET', KEYS[place])
  if answer == 1 and wanted and string.sub(wanted, 1, 33) == ARGV[1] .. ':' then answer = 2 end
end
return answer
