#!lua
-- sessions/create: a session under an id that nobody knows yet.
--
-- KEYS[1]  session   see load.lua
-- ARGV[1]  idle      milliseconds
-- ARGV[2]  absolute  milliseconds
-- ARGV[3]  created   ms; '' now
-- ARGV[4]  ends      ms; '' `absolute` from now
-- ARGV[5..] fields   names and values of the rest
-- returns  {created, born, ends} in ms; {} it has ended already
-- retry:   by request id (the session: who comes again finds it, or what became of it, and writes nothing)
-- cost:    O(size of the session)
local known = redis.call('HMGET', KEYS[1], 'c', 'b', 'e', 't')
if known[4] then return {} end
if known[1] then return {tonumber(known[1]), tonumber(known[2]), tonumber(known[3])} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local created = ARGV[3] == '' and now or tonumber(ARGV[3])
local ends = ARGV[4] == '' and now + ARGV[2] or tonumber(ARGV[4])
if now >= ends then return {} end
local ms = string.format('%.0f', now)
redis.call('HSET', KEYS[1], 'c', string.format('%.0f', created), 'b', ms, 'l', ms, 'e',
  string.format('%.0f', ends), 'i', ARGV[1])
for first = 5, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.min(now + ARGV[1], ends)))
return {created, now, ends}
