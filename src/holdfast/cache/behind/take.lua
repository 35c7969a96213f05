#!lua flags=allow-oom
-- behind/take: what the writer of a partition is to apply now. Nothing is taken away: ack.lua does that.
--
-- KEYS[1]  pending  see put.lua
-- KEYS[2]  order
-- KEYS[3]  state    hasten: up to this number nothing rests
-- KEYS[4]  lease    of the partition, see claim.lua
-- KEYS[5]  tries    tag -> seq:rounds:attempts:proved:id:microseconds before which not to try again
-- ARGV[1]  holder   what the lease must hold
-- ARGV[2]  batch    records at most
-- ARGV[3]  delay    microseconds for which the oldest record rests
-- ARGV[4]  longest  microseconds that a record can be held back after a failure
-- ARGV[5]  size     bytes at which to stop, after the first record
-- returns  {-2, {}}     the lease is not ours any more
--          {rest, found} found: tag, record, tag, record, ...; rest: microseconds until there is more, -1 if
--                        nothing else waits
-- retry:   safe
-- cost:    O(log(records waiting) + batch + records that failed)
if redis.call('GET', KEYS[4]) ~= ARGV[1] then return {-2, {}} end
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local batch, delay, longest, size = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local hasten = tonumber(redis.call('HGET', KEYS[3], 'hasten') or 0)
local held = redis.call('HLEN', KEYS[5])
local found, bytes, rest = {}, 0, -1
local function later(wait) if rest < 0 or wait < rest then rest = wait end end
local waiting = redis.call('ZRANGE', KEYS[2], 0, batch + held, 'WITHSCORES')
local open = false -- once the oldest has rested, all go with it: one commit for what came within the delay
for place = 1, #waiting, 2 do
  local tag, since, again = waiting[place], tonumber(waiting[place + 1]), 0
  if held > 0 then
    again = tonumber(string.match(redis.call('HGET', KEYS[5], tag) or '', '(%d+)$') or 0)
  end
  -- A number ahead of the clock means that the clock was set back: waiting for it could last for hours.
  if again > micros and again <= micros + longest then
    later(again - micros)
  elseif not open and since > hasten and since <= micros and since + delay > micros then
    later(since + delay - micros)
  elseif #found >= 2 * batch or bytes >= size then
    later(0)
    break
  else
    open = true
    local record = redis.call('HGET', KEYS[1], tag)
    if record then
      found[#found + 1] = tag
      found[#found + 1] = record
      bytes = bytes + #record
    else
      redis.call('ZREM', KEYS[2], tag) -- somebody has removed it by hand
    end
  end
end
return {rest, found}
