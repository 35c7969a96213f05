#!lua flags=allow-oom
-- streams/settle: what becomes of entries that were not simply done.
--
-- KEYS[1]  stream
-- KEYS[2]  retries  see turn.lua
-- KEYS[3]  errors   see turn.lua
-- KEYS[4]  dead     see turn.lua
-- KEYS[5]  bell     see turn.lua
-- KEYS[6]  turns    see turn.lua; here also '=' and member -> what its last settle was answered
-- KEYS[7]  members  see turn.lua
-- ARGV[1]  group
-- ARGV[2]  member
-- ARGV[3]  delete   '1': a dead letter is deleted from the stream
-- ARGV[4]  turn     the number of this request, one of the member's turns
-- ARGV[5..] items   of each entry: what, id, deliveries, pause (ms), error. What:
--                   later  any member may have it again, after the pause
--                   wait   this member will have it again, after the pause
--                   again  this member has it again, now: one more delivery
--                   dead   it becomes a dead letter
--                   free   any member may have it now, and this delivery does not count
-- returns  of each entry 1 settled, 0 another member has it or had it, -1 it is deleted
-- retry:   by request id (the turn: of the last one the answer is remembered, an older one does nothing)
-- cost:    O(entries * log(entries that wait))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stream, group, me = KEYS[1], ARGV[1], ARGV[2]
local answers, freed = {}, false
local last = tonumber(redis.call('HGET', KEYS[6], me) or 0)
local is_member = redis.call('ZSCORE', KEYS[7], me)
if last >= tonumber(ARGV[4]) or not is_member then -- whoever was replaced leaves nothing behind
  local known = redis.call('HGET', KEYS[6], '=' .. me)
  local told = known and cmsgpack.unpack(known) or {}
  if told[1] == ARGV[4] then return told[2] end
  for _ = 5, #ARGV, 5 do answers[#answers + 1] = 0 end
  return answers
end
for at = 5, #ARGV, 5 do
  local what, id, deliveries = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local pause, why = ARGV[at + 3], ARGV[at + 4]
  local rows = redis.pcall('XPENDING', stream, group, id, id, 1)
  local row = not rows.err and rows[1] or nil
  local entry = redis.call('XRANGE', stream, id, id)[1]
  local answer = 1
  if (what == 'again' or what == 'wait') and row and row[2] == me and row[4] == deliveries + 1 then
    answer = 1 -- it was answered so before, in a reply that was lost
  elseif not row or row[2] ~= me or row[4] ~= deliveries then
    answer = entry and 0 or -1
  elseif not entry then
    redis.call('XACK', stream, group, id)
    redis.call('HDEL', KEYS[3], id)
    answer = -1
  elseif what == 'dead' then
    redis.call('XADD', KEYS[4], '*', '~id', id, '~at', string.format('%.0f', now), '~deliveries', deliveries,
      '~error', why, unpack(entry[2]))
    redis.call('XACK', stream, group, id)
    if ARGV[3] == '1' then redis.call('XDEL', stream, id) end
    redis.call('HDEL', KEYS[3], id)
    redis.call('ZREM', KEYS[2], id)
  elseif what == 'again' then
    redis.call('XCLAIM', stream, group, me, 0, id, 'JUSTID', 'RETRYCOUNT', deliveries + 1)
    redis.call('ZREM', KEYS[2], id)
  elseif what == 'free' then
    redis.call('XCLAIM', stream, group, '~later', 0, id, 'RETRYCOUNT', deliveries - 1, 'JUSTID')
    redis.call('ZADD', KEYS[2], string.format('%.0f', now), id)
    freed = true
  else
    if what == 'later' then redis.call('XCLAIM', stream, group, '~later', 0, id, 'JUSTID') end
    redis.call('ZADD', KEYS[2], string.format('%.0f', now + pause), id)
    if why ~= '' then redis.call('HSET', KEYS[3], id, why) end
    freed = true -- who sleeps may have to wake up sooner
  end
  answers[#answers + 1] = answer
end
redis.call('HSET', KEYS[6], me, ARGV[4], '=' .. me, cmsgpack.pack({ARGV[4], answers}))
if freed and redis.call('DEL', KEYS[5]) == 1 then redis.pcall('SPUBLISH', stream, '') end
return answers
