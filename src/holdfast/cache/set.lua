-- cache/set: store a value, and refuse every fill and put that is under way.
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- ARGV[1]  envelope
-- ARGV[2]  ttl    milliseconds
-- ARGV[3]  until  server milliseconds after which the caller has given up
-- returns  1 stored, 0 too late
-- retry:   safe (the caller still wants this value)
-- cost:    O(size of the envelope)
local time = redis.call('TIME')
-- Stuck behind a frozen server, it would otherwise bring an old value back after a later invalidation.
if time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[3]) then return 0 end
local reply = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if reply.err then
  redis.call('UNLINK', KEYS[1], KEYS[2]) -- memory is full: the older value must go all the same
  return reply
end
redis.call('DEL', KEYS[2])
redis.pcall('SPUBLISH', KEYS[2], 'set')
return 1
