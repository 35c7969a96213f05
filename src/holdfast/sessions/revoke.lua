#!lua flags=allow-oom
-- sessions/revoke: end a session; it is remembered for a while, so that nothing that comes late begins it anew.
--
-- KEYS[1]  session   see load.lua
-- ARGV[1]  request   names this request
-- ARGV[2]  remember  milliseconds
-- returns  {1, generation ('' nobody's)} ended; {0} none; {2, target} replaced, with an overlap: end that one
-- retry:   by request id
-- cost:    O(size of the session)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'e', 'l', 'i', 't', 'x', 'o', 'g', 'r')
if known[4] then
  if known[8] == ARGV[1] then return {1, known[7] or ''} end
  -- Also after the overlap: a request that was slow must be able to sign out.
  if known[4] ~= '' and tonumber(known[6]) > 0 then return {2, known[4]} end
  return {0}
end
if not known[1] or now >= tonumber(known[1]) or now >= known[2] + known[3] then return {0} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 't', '', 'x', '0', 'o', '0', 'r', ARGV[1], 'g', known[7] or '')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1, known[7] or ''}
