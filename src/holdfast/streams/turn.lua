#!lua flags=allow-oom
-- streams/turn: a member's turn at a partition: acknowledge what is done, and take what there is to do.
--
-- What is taken comes in this order: what dead members had, what is due again after a failure, what is new.
-- Where a partition has one member at a time, whoever joins first takes everything that is pending, in order,
-- and nothing new before that: so nobody can overtake his predecessor.
--
-- KEYS[1]  stream
-- KEYS[2]  members  zset: name -> server ms at which its lease ends; the names are consumers of the group
-- KEYS[3]  retries  zset: id of an entry -> server ms at which it is due again
-- KEYS[4]  errors   hash: id of an entry -> how it failed last
-- KEYS[5]  dead     stream of dead letters
-- KEYS[6]  bell     set when nothing is found: whoever publishes then rings
-- KEYS[7]  at       see publish.lua
-- KEYS[8]  later    see publish.lua
-- KEYS[9]  saved    id up to which all is acknowledged, for a group that was lost
-- KEYS[10] turns    hash: member -> number of its last turn; '~' and member -> epoch of its membership;
--                   '~from' -> id behind which a member who is alone goes on to take what is pending
-- KEYS[11] outbox   stream: what is to be published elsewhere
-- ARGV[1]  group
-- ARGV[2]  member   whose turn it is
-- ARGV[3]  lease    milliseconds
-- ARGV[4]  limit    entries to take
-- ARGV[5]  alone    '1': one member at a time
-- ARGV[6]  start    where a new group begins: '0' or '$'
-- ARGV[7]  most     deliveries; an entry that had so many becomes a dead letter; '0': no limit
-- ARGV[8]  delete   '1': what is acknowledged is deleted
-- ARGV[9]  mode     'part': take nothing, and do not join; 'apart': take nothing new, XREADGROUP follows in
--                   the same write; 'count': count what is pending, in any case; '' none of these
-- ARGV[10] turn     its number; one that comes after a later one (it was on its way for long) does nothing
-- ARGV[11..] acks   of each entry that is done: id, deliveries
-- returns  {now, rest, epoch, suspect, outbox, pending, own, healed, fenced, gone, taken, fresh, buried}:
--          rest: ms until there is more to do, -1 unknown; epoch: of this membership, 0 where another member
--          has the partition; suspect: 1 where the one entry in taken may be what killed those who had it;
--          outbox: its length; pending, own: entries that the group, and this member, have pending, -1 not
--          counted; healed 1: the group was made just now; fenced, gone: ids of acks that did not count,
--          since another member has them or had them, or since the entry is deleted; taken: {id, deliveries,
--          ms to wait, fields}; fresh: {id, fields}, delivered for the first time; buried: {id, deliveries,
--          error}
-- retry:   never (what was taken by a request whose reply was lost is found again by mine.lua)
-- cost:    O(acks + limit + log(entries))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stream, group, me, alone = KEYS[1], ARGV[1], ARGV[2], ARGV[5] == '1'
local room, most = tonumber(ARGV[4]), tonumber(ARGV[7])
local healed, fenced, gone, taken, buried = 0, {}, {}, {}, {}

if tonumber(redis.call('HGET', KEYS[10], me) or 0) >= tonumber(ARGV[10]) then
  return {now, -1, 0, 0, 0, -1, -1, healed, fenced, gone, taken, {}, buried}
end
redis.call('HSET', KEYS[10], me, ARGV[10])

local function asked(...)
  local answer = redis.pcall(...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if not string.find(answer.err, 'NOGROUP', 1, true) then error(answer) end
  -- Flushed, evicted, or never made. Where the stream is lost too, all that is in it came later.
  local is_there = redis.call('EXISTS', stream) == 1
  local start = is_there and (redis.call('GET', KEYS[9]) or ARGV[6]) or '0'
  redis.call('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
  if start == '$' then -- should the group be lost before anybody has saved how far it was
    local about = redis.call('XINFO', 'STREAM', stream)
    for at = 1, #about - 1, 2 do
      if about[at] == 'last-generated-id' then redis.call('SET', KEYS[9], about[at + 1]) end
    end
  end
  healed = 1
  return redis.call(...)
end

-- Acknowledgements count only for whoever has the entry now, by this very delivery.
if ARGV[11] then
  local mine, done = {}, {}
  for _, row in ipairs(asked('XPENDING', stream, group, '-', '+', #ARGV, me)) do mine[row[1]] = row[4] end
  for at = 11, #ARGV, 2 do
    local id, deliveries = ARGV[at], tonumber(ARGV[at + 1])
    if mine[id] ~= deliveries then
      local row = redis.call('XPENDING', stream, group, id, id, 1)[1]
      if row and row[2] == me and row[4] == deliveries then
        mine[id] = deliveries
      elseif row or #redis.call('XRANGE', stream, id, id) == 1 then
        fenced[#fenced + 1] = id
      else
        gone[#gone + 1] = id
      end
    end
    if mine[id] == deliveries then done[#done + 1] = id end
  end
  for at = 1, #done, 1000 do
    local last = math.min(at + 999, #done)
    redis.call('XACK', stream, group, unpack(done, at, last))
    if ARGV[8] == '1' then redis.call('XDEL', stream, unpack(done, at, last)) end
    redis.call('HDEL', KEYS[4], unpack(done, at, last))
    redis.call('ZREM', KEYS[3], unpack(done, at, last))
  end
end
if ARGV[9] == 'part' then return {now, -1, 0, 0, 0, -1, -1, healed, fenced, gone, taken, {}, buried} end

-- Membership.
if alone then
  local other = redis.call('ZRANGEBYSCORE', KEYS[2], string.format('(%.0f', now), '+inf', 'WITHSCORES',
    'LIMIT', 0, 2)
  for at = 1, #other, 2 do
    if other[at] ~= me then
      local left = math.ceil(other[at + 1] - now)
      redis.call('HDEL', KEYS[10], me) -- it is no member, and nobody will see it leave
      return {now, left, 0, 0, 0, -1, -1, healed, fenced, gone, taken, {}, buried}
    end
  end
end
local epoch = tonumber(redis.call('HGET', KEYS[10], '~' .. me) or 0)
if redis.call('ZADD', KEYS[2], 'XX', 'INCR', 0, me) == false or epoch == 0 then
  epoch = math.max(epoch + 1, now) -- by the clock, so that it grows over a flush too
  redis.call('HSET', KEYS[10], '~' .. me, string.format('%.0f', epoch))
  if alone then
    redis.call('HSET', KEYS[10], '~from', '-')
    redis.call('DEL', KEYS[2]) -- so that a predecessor who wakes up finds himself replaced
  end
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), me)
local from = alone and (redis.call('HGET', KEYS[10], '~from') or '') or ''
local suspect = 0

-- An entry whose members died again and again is handed out alone: so the next death tells whether it was
-- that one, and those beside it do not become dead letters with it.
local function is_suspect(id, deliveries)
  return deliveries >= (most > 0 and math.min(2, most - 1) or 2) and redis.call('HEXISTS', KEYS[4], id) == 0
end

local function claim(id, deliveries)
  if most > 0 and deliveries >= most then
    local entry = redis.call('XRANGE', stream, id, id)[1]
    local why = redis.call('HGET', KEYS[4], id) or string.format('interrupted %d times', deliveries)
    if entry then
      local at = string.format('%.0f', now)
      redis.call('XADD', KEYS[5], '*', '~id', id, '~at', at, '~deliveries', deliveries, '~error', why,
        unpack(entry[2]))
      buried[#buried + 1] = {id, deliveries, why}
    end
    redis.call('XACK', stream, group, id)
    if ARGV[8] == '1' then redis.call('XDEL', stream, id) end
    redis.call('HDEL', KEYS[4], id)
    redis.call('ZREM', KEYS[3], id)
    return
  end
  local due = redis.call('ZSCORE', KEYS[3], id)
  local entry = redis.call('XCLAIM', stream, group, me, 0, id)[1]
  redis.call('ZREM', KEYS[3], id)
  if entry then
    taken[#taken + 1] = {id, deliveries + 1, due and math.max(0, math.ceil(due - now)) or 0, entry[2]}
    room = room - 1
  else -- deleted meanwhile
    redis.call('XACK', stream, group, id)
    redis.call('HDEL', KEYS[4], id)
  end
end

-- Claims rows until there is no room; returns whether all of them were claimed, and the last one that was.
local function claim_all(rows)
  local last
  for _, row in ipairs(rows) do
    if room <= 0 then return false, last end
    if row[2] ~= '~later' and is_suspect(row[1], row[4]) then
      if #taken > 0 then
        room = 0
        return false, last
      end
      claim(row[1], row[4])
      if #taken > 0 then suspect, room = 1, 0 end
    else
      claim(row[1], row[4])
    end
    last = row[1]
  end
  return true, last
end

while from ~= '' and room > 0 do
  local rows = asked('XPENDING', stream, group, from, '+', room)
  local _, last = claim_all(rows)
  if last then from = '(' .. last end
  if #rows == 0 then from = '' end
  redis.call('HSET', KEYS[10], '~from', from)
  if from == '' then -- all of it is ours now: no other consumer has anything
    redis.call('HDEL', KEYS[10], '~from')
    for _, field in ipairs(redis.call('HKEYS', KEYS[10])) do -- nobody else is a member
      local is_mine = field == me or field == '~' .. me or field == '=' .. me
      if not is_mine then redis.call('HDEL', KEYS[10], field) end
    end
    for _, about in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
      local other, has = about[2], about[4]
      if other ~= me and has == 0 then
        redis.call('XGROUP', 'DELCONSUMER', stream, group, other)
      end
    end
  end
end

if not alone and room > 0 then
  local ended = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 3)
  for _, who in ipairs(ended) do
    local rows = room > 0 and asked('XPENDING', stream, group, '-', '+', room, who) or {}
    claim_all(rows)
    -- Deleting a consumer deletes what it has pending, so only one that has nothing.
    if not asked('XPENDING', stream, group, '-', '+', 1, who)[1] then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, who)
      redis.call('ZREM', KEYS[2], who)
      redis.call('HDEL', KEYS[10], who, '~' .. who, '=' .. who)
    end
  end
  local until_now = string.format('%.0f', now)
  local again = room > 0 and redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', until_now, 'LIMIT', 0, room) or {}
  for _, id in ipairs(again) do
    local row = asked('XPENDING', stream, group, id, id, 1)[1]
    if row and row[2] == '~later' then claim(id, row[4]) else redis.call('ZREM', KEYS[3], id) end
  end
end

local due = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
for _, token in ipairs(due) do
  local packed = redis.call('HGET', KEYS[8], token)
  if packed then redis.call('XADD', stream, '*', unpack(cmsgpack.unpack(packed), 2)) end
  redis.call('ZREM', KEYS[7], token)
  redis.call('HDEL', KEYS[8], token)
end

local fresh = {}
if room > 0 and from == '' and ARGV[9] ~= 'apart' then
  local read = asked('XREADGROUP', 'GROUP', group, me, 'COUNT', room, 'STREAMS', stream, '>')
  fresh = read and read[1][2] or {}
end

local rest, pending, own = -1, -1, -1
if room > 0 and #fresh < room and from == '' and ARGV[9] ~= 'apart' then
  redis.call('SET', KEYS[6], '1', 'PX', 60000)
  local function sooner(at)
    if at then
      local left = math.max(0, math.ceil(at - now))
      rest = rest < 0 and left or math.min(rest, left)
    end
  end
  if not alone then sooner(redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]) end
  sooner(redis.call('ZRANGE', KEYS[7], 0, 0, 'WITHSCORES')[2])
  local ends = redis.call('ZRANGE', KEYS[2], 0, 1, 'WITHSCORES')
  for at = 1, #ends, 2 do
    if ends[at] ~= me then sooner(ends[at + 1]) end
  end
  if #fresh + #taken == 0 then pending = 0 end
end
if (pending == 0 or ARGV[9] == 'count') and from == '' then -- else what it has from before is not known yet
  local all = asked('XPENDING', stream, group)
  pending, own = all[1], 0
  for _, one in ipairs(all[4] or {}) do
    if one[1] == me then own = tonumber(one[2]) end
  end
end
local outbox = redis.call('XLEN', KEYS[11])
return {now, rest, epoch, suspect, outbox, pending, own, healed, fenced, gone, taken, fresh, buried}
