#!lua
-- eventsourcing/track: record how far another log has been processed, and what came of it.
--
-- KEYS[1]  tracking   hash: application -> the last of its notification ids that was processed
-- KEYS[2]  request    there, if this request was executed, in case that its reply is lost
-- KEYS[3..] keys      that the commands write
-- ARGV[1]  keep       milliseconds for which the request is remembered
-- ARGV[2]  tracked    application of the other log
-- ARGV[3]  processed  notification id in it
-- ARGV[4..] commands  for each how many words it has, a name, which of the keys, and its arguments
-- returns  1; 0 if it has been processed already: then nothing was done
-- retry:   by request id (a repeated request does nothing)
-- cost:    O(1) and that of the commands
local _ = KEYS[3] -- the others are named by number, in the commands
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
local processed = redis.call('HGET', KEYS[1], ARGV[2])
if processed and tonumber(processed) >= tonumber(ARGV[3]) then return 0 end
local at = 4
while at <= #ARGV do
  local words = {ARGV[at + 1], KEYS[2 + ARGV[at + 2]]}
  for n = 3, ARGV[at] do words[n] = ARGV[at + n] end
  redis.call(unpack(words))
  at = at + ARGV[at] + 1
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
redis.pcall('SPUBLISH', KEYS[1], ARGV[3])
return 1
