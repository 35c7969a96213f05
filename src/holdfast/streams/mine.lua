#!lua flags=allow-oom
-- streams/mine: what a member has pending, for one who may have missed a reply, or was thought dead.
--
-- KEYS[1]  stream
-- KEYS[2]  turns    see turn.lua
-- KEYS[3]  members  see turn.lua
-- ARGV[1]  group
-- ARGV[2]  member
-- ARGV[3]  from     first id; '-' the first one
-- ARGV[4]  limit    entries to look at
-- ARGV[5]  again    '1': they were lost, and are delivered once more
-- ARGV[6]  lease    milliseconds
-- ARGV[7]  turn     the number of this question: a turn of before, still on its way, then does nothing
-- returns  {{id, deliveries, fields}, ...} in order; a deleted entry has no fields. Nothing for one who is no
--          member any more: what he had is his successor's
-- retry:   safe (entries that were lost may count one delivery more)
-- cost:    O(limit)
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local found = {}
-- It was on its way for long: to count one more delivery now would take from its worker what is in work.
if tonumber(redis.call('HGET', KEYS[2], me) or 0) > tonumber(ARGV[7]) then return found end
if tonumber(redis.call('ZSCORE', KEYS[3], me) or 0) == 0 then return found end -- 0: it has left
redis.call('HSET', KEYS[2], me, ARGV[7])
-- Else somebody could take what it is told it has.
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[6]
redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', ends), me)
-- One who has just joined and is alone still claims what is pending: what lies beyond that comes to him so.
local from = redis.call('HGET', KEYS[2], '~from')
if from == '-' then return found end
local rows = redis.pcall('XPENDING', stream, group, ARGV[3], from and string.sub(from, 2) or '+', ARGV[4], me)
if rows.err then return found end
for _, row in ipairs(rows) do
  local entry = redis.call('XRANGE', stream, row[1], row[1])[1]
  local deliveries = row[4]
  if entry and ARGV[5] == '1' then
    deliveries = deliveries + 1
    redis.call('XCLAIM', stream, group, me, 0, row[1], 'JUSTID', 'RETRYCOUNT', deliveries)
  end
  found[#found + 1] = {row[1], deliveries, entry and entry[2] or {}}
end
return found
