-- locks/see: a lock as an operator wants to see it: who has it, who waits, and since when.
--
-- KEYS[1]  lock     also the channel of those who wait
-- KEYS[2]  fence    the last one given
-- KEYS[3]  wanted   a request to give it back
-- KEYS[4]  queue    of a fair lock: tickets by token, server microseconds of their arrival
-- KEYS[5]  beats    until when each of them is taken to be alive: server milliseconds
-- KEYS[6]  count    how often somebody found it held
-- ARGV[1]  most     tickets to tell of
-- returns  {type, value or false, pttl, last fence or false, the request or false, tickets, contended,
--          {token, arrival, alive until or false, ...}, listeners or -1 if that may not be known, server ms}
-- retry:   safe
-- cost:    O(log n + most) where n wait in a fair queue
local time = redis.call('TIME')
local kind = redis.call('TYPE', KEYS[1]).ok
local told = {}
if ARGV[1] ~= '0' then
  local found = redis.call('ZRANGE', KEYS[4], 0, ARGV[1] - 1, 'WITHSCORES')
  for place = 1, #found, 2 do
    told[#told + 1] = found[place]
    told[#told + 1] = found[place + 1]
    told[#told + 1] = redis.call('ZSCORE', KEYS[5], found[place])
  end
end
local heard = redis.pcall('PUBSUB', 'SHARDNUMSUB', KEYS[1])
return {
  kind, kind == 'string' and redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]),
  redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]), redis.call('ZCARD', KEYS[4]),
  tonumber(redis.call('GET', KEYS[6]) or 0), told, heard.err and -1 or heard[2],
  time[1] * 1000 + math.floor(time[2] / 1000),
}
