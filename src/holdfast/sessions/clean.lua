#!lua flags=allow-oom
-- sessions/clean: take sessions that were found dead out of the index of their user.
--
-- KEYS[1]  user     see enter.lua
-- KEYS[2]  index    see enter.lua
-- ARGV[1]  rest     milliseconds since the last entry: it is there before its session is, and looks dead so long
-- ARGV[2..] handles
-- returns  how many were removed
-- retry:   safe
-- cost:    O(handles * log(sessions of the user))
local entered = redis.call('HGET', KEYS[1], 'n')
if entered then
  local time = redis.call('TIME')
  if time[1] * 1000 + math.floor(time[2] / 1000) - entered < tonumber(ARGV[1]) then return 0 end
end
return redis.call('ZREM', KEYS[2], unpack(ARGV, 2))
