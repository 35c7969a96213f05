#!lua
-- streams/effects: what a handler wrote, and the acknowledgement of its message, in one step.
--
-- KEYS[1]  stream
-- KEYS[2]  retries  see turn.lua
-- KEYS[3]  errors   see turn.lua
-- KEYS[4]  done     hash: number of a request of this member -> 1
-- KEYS[5]  outbox   see turn.lua
-- KEYS[6..] keys    that the commands write
-- ARGV[1]  group
-- ARGV[2]  member
-- ARGV[3]  id       of the message
-- ARGV[4]  deliveries
-- ARGV[5]  delete   '1': what is acknowledged is deleted
-- ARGV[6]  request  its number; the same when it is repeated
-- ARGV[7]  kept     milliseconds for which requests are remembered after the last one
-- ARGV[8..] commands of each: name, index of its key (from 1; 0: the outbox), number of arguments, these.
--                   PUBLISH adds an entry to the stream at its key, and rings the bell beside it; OUTBOX
--                   leaves one for relay
-- returns  1 done, 0 another member has the message or had it, -1 it is deleted; {number of a command, why}:
--          it cannot be executed. Except with 1, nothing was written
-- retry:   by request id (the number, among the last 1000 of the member)
-- cost:    that of the commands, O(1) besides
if redis.call('HEXISTS', KEYS[4], ARGV[6]) == 1 then return 1 end
local stream, group, id = KEYS[1], ARGV[1], ARGV[3]
local rows = redis.pcall('XPENDING', stream, group, id, id, 1)
local row = not rows.err and rows[1] or nil
if not row or row[2] ~= ARGV[2] or row[4] ~= tonumber(ARGV[4]) then
  return #redis.call('XRANGE', stream, id, id) == 1 and 0 or -1
end

-- A script that fails in the middle is not undone, so what could fail is looked at before the first write.
-- That is enough, as no two commands write the same place: whoever asks has seen to that.
local KIND = {INCRBY = 'string', HSET = 'hash', HINCRBY = 'hash', PUBLISH = 'stream', OUTBOX = 'stream'}
local function trouble(name, key, first)
  local kind = redis.call('TYPE', key)['ok']
  if not KIND[name] or kind == 'none' then return end
  if kind ~= KIND[name] then return 'it holds a ' .. kind end
  local value, by
  if name == 'INCRBY' then value, by = redis.call('GET', key), ARGV[first] end
  if name == 'HINCRBY' then value, by = redis.call('HGET', key, ARGV[first]), ARGV[first + 1] end
  if value and (not (value == '0' or string.find(value, '^-?[1-9]%d*$')) or math.abs(value + by) > 2^53) then
    return 'it holds no whole number, or one beyond 2**53'
  end
end
local at, number = 8, 1
while ARGV[at] do
  local key = ARGV[at + 1] == '0' and KEYS[5] or KEYS[5 + ARGV[at + 1]]
  local why = trouble(ARGV[at], key, at + 3)
  if why then return {number, why} end
  at, number = at + 3 + ARGV[at + 2], number + 1
end

at = 8
while ARGV[at] do
  local key = ARGV[at + 1] == '0' and KEYS[5] or KEYS[5 + ARGV[at + 1]]
  local first, last = at + 3, at + 2 + ARGV[at + 2]
  if ARGV[at] == 'PUBLISH' then
    redis.call('XADD', key, '*', unpack(ARGV, first, last))
    if redis.call('DEL', key .. ':bell') == 1 then redis.pcall('SPUBLISH', key, '') end
  elseif ARGV[at] == 'OUTBOX' then
    redis.call('XADD', key, '*', unpack(ARGV, first, last))
  else
    redis.call(ARGV[at], key, unpack(ARGV, first, last))
  end
  at = last + 1
end
redis.call('XACK', stream, group, id)
if ARGV[5] == '1' then redis.call('XDEL', stream, id) end
redis.call('HDEL', KEYS[3], id)
redis.call('ZREM', KEYS[2], id)
redis.call('HSET', KEYS[4], ARGV[6], '1')
redis.call('HDEL', KEYS[4], string.format('%.0f', ARGV[6] - 1000))
redis.call('PEXPIRE', KEYS[4], ARGV[7])
return 1
