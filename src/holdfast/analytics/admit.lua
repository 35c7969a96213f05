#!lua
-- analytics/admit: find out which series of a metric may be kept, and note that they are in use.
--
-- KEYS[1]  series   zset: series -> server ms of its last use; '%other' is that of all others, beyond the limit
-- ARGV[1]  limit    series
-- ARGV[2]  keep     milliseconds for which a series is known after its last use
-- ARGV[3..] wanted  series
-- returns  of each: 1, or 0 if it is one too many
-- retry:   safe
-- cost:    O(wanted * log(limit))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[2]))
local others = redis.call('ZSCORE', KEYS[1], '%other') and 1 or 0
local left = ARGV[1] + others - redis.call('ZCARD', KEYS[1])
local answers = {}
for place = 3, #ARGV do
  local known = redis.call('ZSCORE', KEYS[1], ARGV[place])
  local admitted = known or left > 0
  redis.call('ZADD', KEYS[1], string.format('%.0f', now), admitted and ARGV[place] or '%other')
  if admitted and not known then left = left - 1 end
  answers[place - 2] = admitted and 1 or 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return answers
