#!lua flags=allow-oom
-- behind/claim: take the right to write a partition to the source, or renew it.
--
-- KEYS[1]  lease   '<holder>:<fence>' of the one writer
-- KEYS[2]  state   fence: the last one given
-- ARGV[1]  holder  hexadecimal, new for every attempt to become the writer
-- ARGV[2]  ttl     milliseconds
-- ARGV[3]  anew    '1': a new fence also if it is ours already, as a call of the source is in doubt
-- returns  {fence, 0} ours; {0, pttl} somebody else's, for at most pttl milliseconds
-- retry:   by request id (the holder; anew, a repeated request gives a still higher fence)
-- cost:    O(1)
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
  local holder, fence = string.match(held, '^(%x+):(%d+)$')
  if holder ~= ARGV[1] then return {0, math.max(0, redis.call('PTTL', KEYS[1]))} end
  if ARGV[3] ~= '1' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return {tonumber(fence), 0}
  end
end
-- Not below the clock: after a FLUSHALL, or on a replica that missed the last one, it must not go back.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local fence = math.max(tonumber(redis.call('HGET', KEYS[2], 'fence') or 0) + 1, now)
local written = string.format('%.0f', fence)
redis.call('HSET', KEYS[2], 'fence', written)
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. written, 'PX', ARGV[2])
return {fence, 0}
