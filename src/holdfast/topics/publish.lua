#!lua
-- topics/publish: say something to everybody who listens, and keep it for those who are away.
--
-- KEYS[1]  log      stream of what is kept, with ids <ms>-<offset>; a channel as well
-- KEYS[2]  state    hash: epoch; ms and offset of the last message; before: what was before the log, if known
-- KEYS[3]  memo     of an id: where its message is; of a publisher: hash from the numbers of his requests
-- ARGV[1]  body     the value
-- ARGV[2]  epoch    random; the history has this one if it begins here
-- ARGV[3]  number   of this request, counted by its publisher; '0': the memo is that of an id
-- ARGV[4]  remember milliseconds for which the memo is kept
-- ARGV[5]  history  messages kept
-- ARGV[6]  max_age  milliseconds for which a message is kept; '0' no limit
-- ARGV[7]  keep     milliseconds for which the topic is kept after its last message; '0' for ever
-- returns  {epoch, ms, offset, duplicate (0, 1)}; {} if nobody knows any more whether it was said
-- retry:   by request id (the memo: a repeated request finds what the first one has said)
-- cost:    O(1), and O(subscribers) for the push
local WINDOW = 1000 -- requests of one publisher that are remembered
local number = tonumber(ARGV[3])
local known, low
if number == 0 then
  known = redis.call('GET', KEYS[3])
else
  local found = redis.call('HMGET', KEYS[3], ARGV[3], 'low')
  known, low = found[1], tonumber(found[2])
end
if known then
  local epoch, ms, offset = string.match(known, '^(%x+)%.(%d+)%.(%d+)$')
  return {epoch, tonumber(ms), tonumber(offset), 1}
end
if low and number <= low then return {} end
local state = redis.call('HMGET', KEYS[2], 'epoch', 'ms', 'offset')
local epoch, offset = state[1], tonumber(state[3] or 0) + 1
if not epoch then epoch, offset = ARGV[2], 1 end
local time = redis.call('TIME')
-- Not below the last one, though the clock was set back: ids only grow.
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), state[1] and tonumber(state[2]) or 0)
local ms, count = string.format('%.0f', now), string.format('%.0f', offset)
local place = epoch .. '.' .. ms .. '.' .. count
-- First, so that a publisher without the right to do it has changed nothing.
redis.call('SPUBLISH', KEYS[1], place .. ':' .. ARGV[1])
if offset == 1 then redis.call('DEL', KEYS[1], KEYS[2]) end -- what is there belongs to no epoch
redis.call('HSET', KEYS[2], 'epoch', epoch, 'ms', ms, 'offset', count)
-- One more than is asked for: whoever has read up to it can see that nothing is missing behind it.
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[5] + 1, ms .. '-' .. count, 'data', ARGV[1])
if offset > 1 and redis.call('XLEN', KEYS[1]) == 1 then -- the log was gone: too old, or deleted
  redis.call('HSET', KEYS[2], 'before', state[2] .. '-' .. state[3])
end
local expire = tonumber(ARGV[7])
if ARGV[6] ~= '0' then
  local outdated = redis.call('XREVRANGE', KEYS[1], string.format('%.0f', now - ARGV[6]), '-', 'COUNT', 1)
  if outdated[1] then redis.call('XTRIM', KEYS[1], 'MINID', outdated[1][1]) end
  expire = tonumber(ARGV[6])
end
if expire > 0 then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', expire)) end
if ARGV[7] ~= '0' then redis.call('PEXPIRE', KEYS[2], ARGV[7]) end
if number == 0 then
  redis.call('SET', KEYS[3], place, 'PX', ARGV[4])
else
  -- Never lower than it was, though requests overtake each other: what is forgotten is not done again.
  local oldest = math.max(low or 0, number - WINDOW)
  if low and oldest - low > WINDOW then
    redis.call('DEL', KEYS[3])
  else
    for gone = (low or oldest) + 1, oldest do redis.call('HDEL', KEYS[3], string.format('%.0f', gone)) end
  end
  redis.call('HSET', KEYS[3], ARGV[3], place, 'low', string.format('%.0f', oldest))
  redis.call('PEXPIRE', KEYS[3], ARGV[4])
end
return {epoch, now, offset, 0}
