#!lua
-- eventsourcing/append: record events, all or none, and with them how far another log has been processed.
--
-- KEYS[1]  log          stream: 0-<notification id> -> uuid or id (of the originator), version, topic, state
-- KEYS[2]  request      what this request was answered, in case that its reply is lost
-- KEYS[3]  tracking     hash: application -> the last of its notification ids that was processed
-- KEYS[4..] index       zset of each originator: version -> notification id
-- ARGV[1]  keep         milliseconds for which the answer is kept
-- ARGV[2]  tracked      application of the other log
-- ARGV[3]  processed    notification id in it; '' there is none
-- ARGV[4]  originators  how many; for each follow what its id is (uuid or id) and its id, and then
-- ARGV[5..] events      for each which originator, version, topic, state
-- returns  {1, last notification id}; {0, n} the n-th event exists; {0, 0} processed already
-- retry:   by request id (a repeated request finds the answer to the first one)
-- cost:    O(events * log(events of their originators))
local answer = redis.call('GET', KEYS[2])
if answer then return {1, tonumber(answer)} end
if ARGV[3] ~= '' then
  local processed = redis.call('HGET', KEYS[3], ARGV[2])
  if processed and tonumber(processed) >= tonumber(ARGV[3]) then return {0, 0} end
end
local first = 5 + 2 * ARGV[4]
for at = first, #ARGV, 4 do
  local version = ARGV[at + 1]
  if redis.call('ZCOUNT', KEYS[3 + ARGV[at]], version, version) > 0 then return {0, (at - first) / 4 + 1} end
end
local last = '0'
for at = first, #ARGV, 4 do
  local which, version = tonumber(ARGV[at]), ARGV[at + 1]
  -- 0-* numbers without a hole, in the order of commits, and never again what was trimmed away.
  local id = redis.call('XADD', KEYS[1], '0-*', ARGV[3 + 2 * which], ARGV[4 + 2 * which], 'version', version,
    'topic', ARGV[at + 2], 'state', ARGV[at + 3])
  last = string.sub(id, 3)
  redis.call('ZADD', KEYS[3 + which], version, last)
end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  redis.pcall('SPUBLISH', KEYS[3], ARGV[3])
end
redis.call('SET', KEYS[2], last, 'PX', ARGV[1])
redis.pcall('SPUBLISH', KEYS[1], last)
return {1, tonumber(last)}
