#!lua
-- streams/publish: add entries to a partition, now or later, each dedup id once.
--
-- KEYS[1]  stream
-- KEYS[2]  bell      is there while somebody sleeps
-- KEYS[3]  at        zset: token of a delayed entry -> server ms at which it is due
-- KEYS[4]  later     hash: token -> key of its dedup id (or ''), its fields, packed
-- KEYS[5]  requests  hash: number of a request of this client -> what it was answered
-- KEYS[6..] seen     one of each dedup id; holds the id of its entry
-- ARGV[1]  request   its number; the same when it is repeated
-- ARGV[2]  client    random, new for every client
-- ARGV[3]  window    milliseconds for which dedup ids are remembered
-- ARGV[4]  kept      milliseconds for which requests are remembered after the last one
-- ARGV[5..] items    of each entry: when ('' now, '+ms' from now, '=ms' server time), 1 if it has a dedup id
--                    or 0, number of fields and values, these
-- returns  of each entry its id, or for one that is due later '~' and its token; behind a '!' if it was known
-- retry:   by request id (the number, among the last 1000 of the client)
-- cost:    O(entries)
local known = redis.call('HGET', KEYS[5], ARGV[1])
if known then
  if string.byte(known) < 128 then return {known} end -- one answer, as it is; packed ones begin above that
  local answers = cmsgpack.unpack(known)
  if type(answers[2]) == 'number' then -- ids in a row: the first one, and how many
    local ms, first = string.match(answers[1], '(%d+)-(%d+)')
    for at = 1, answers[2] do answers[at] = ms .. '-' .. string.format('%.0f', first + at - 1) end
  end
  return answers
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers, at, seen, in_a_row = {}, 5, 5, true
while ARGV[at] do
  local when, count = ARGV[at], tonumber(ARGV[at + 2])
  local first = at + 3
  local id, dedup
  if ARGV[at + 1] == '1' then
    seen = seen + 1
    dedup = KEYS[seen]
    id = redis.call('GET', dedup)
  end
  if id then
    answers[#answers + 1] = '!' .. id
    in_a_row = false
  else
    local due = now
    if string.sub(when, 1, 1) == '+' then due = now + string.sub(when, 2) end
    if string.sub(when, 1, 1) == '=' then due = tonumber(string.sub(when, 2)) end
    if due > now then
      local token = ARGV[2] .. '.' .. ARGV[1] .. '.' .. #answers
      local packed = {dedup or ''}
      for field = first, first + count - 1 do packed[#packed + 1] = ARGV[field] end
      redis.call('ZADD', KEYS[3], string.format('%.0f', due), token)
      redis.call('HSET', KEYS[4], token, cmsgpack.pack(packed))
      id = '~' .. token
      in_a_row = false
    else
      id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, first, first + count - 1))
    end
    if dedup then redis.call('SET', dedup, id, 'PX', ARGV[3]) end
    answers[#answers + 1] = id
  end
  at = first + count
end
local memo = answers[1]
if #answers > 1 then memo = cmsgpack.pack(in_a_row and #answers > 2 and {memo, #answers} or answers) end
redis.call('HSET', KEYS[5], ARGV[1], memo)
if ARGV[1] % 16 == 0 and tonumber(ARGV[1]) > 1000 then
  for old = ARGV[1] - 1015, ARGV[1] - 1000 do redis.call('HDEL', KEYS[5], string.format('%.0f', old)) end
end
redis.call('PEXPIRE', KEYS[5], ARGV[4])
-- Who sleeps must also hear of what is due before he would wake up.
if redis.call('DEL', KEYS[2]) == 1 then redis.pcall('SPUBLISH', KEYS[1], '') end
return answers
