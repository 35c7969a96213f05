#!lua flags=allow-oom
-- streams/tidy: remove what retention does not keep, and put a group's books in order. A bounded step.
--
-- Nothing is removed from the first entry on that a group has not read, or not acknowledged. How far all is
-- acknowledged is saved, for the case that the group is lost. Consumers that no membership knows (another
-- program's, or of before the members were lost) become members whose lease ends, so that their entries are
-- taken over; entries that wait for a retry which nobody knows of are due now.
--
-- KEYS[1]  stream
-- KEYS[2]  members   see turn.lua
-- KEYS[3]  retries   see turn.lua
-- KEYS[4]  saved     see turn.lua
-- ARGV[1]  group     whose books; '' none
-- ARGV[2]  lease     milliseconds until an unknown consumer counts as dead; 0: they are left alone
-- ARGV[3]  acked     '1': what every group has acknowledged is not kept
-- ARGV[4]  entries   that are kept, at most; 0 no limit
-- ARGV[5]  age       milliseconds for which they are kept, at most; 0 no limit
-- ARGV[6]  bytes     that are kept, at most; 0 no limit
-- ARGV[7]  drop      '1': the limits hold also for what is not read or not acknowledged
-- returns  {removed, more, held, adopted, repaired}: more: 1 if there is more to remove at once; held: the
--          group for which more is kept than the limits say, '' none
-- retry:   safe
-- cost:    O(what is removed: 10,000 at most, or 1,000 where a group stands in between; groups; consumers)
local NODES, STEP, LARGE, PAGE = 10000, 1000, 4000000, 1000
local stream, mine = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function field(flat, name)
  for at = 1, #flat, 2 do
    if flat[at] == name then return flat[at + 1] end
  end
end

-- Ids are compared as text: another program's may be beyond what a number holds.
local function less(one, other)
  local ms, seq = string.match(one, '^(%d+)-(%d+)$')
  local other_ms, other_seq = string.match(other, '^(%d+)-(%d+)$')
  if #ms ~= #other_ms then return #ms < #other_ms end
  if ms ~= other_ms then return ms < other_ms end
  if #seq ~= #other_seq then return #seq < #other_seq end
  return seq < other_seq
end

local function behind(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return #seq > 15 and id or string.format('%s-%.0f', ms, seq + 1)
end

local function before(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= '0' then return #seq > 15 and ms .. '-0' or string.format('%s-%.0f', ms, seq - 1) end
  if ms == '0' or #ms > 15 then return '0-0' end
  return string.format('%.0f-18446744073709551615', ms - 1)
end

local about = redis.pcall('XINFO', 'STREAM', stream)
if about.err then
  if redis.call('EXISTS', stream) == 1 then return about end
  return {0, 0, '', 0, 0}
end
local everything = behind(field(about, 'last-generated-id'))
local safe, keeper, known = everything, '', false
local groups = redis.call('XINFO', 'GROUPS', stream)
for _, group in ipairs(groups) do
  local name, last = field(group, 'name'), field(group, 'last-delivered-id')
  local unread = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
  local pending = field(group, 'pending') > 0 and redis.call('XPENDING', stream, name)[2] or nil
  for _, first in ipairs({unread and unread[1] or pending, pending}) do
    if less(first, safe) then safe, keeper = first, name end
  end
  if name == mine then
    known = true
    local done = pending and not less(last, pending) and before(pending) or last
    if redis.call('GET', KEYS[4]) ~= done then redis.call('SET', KEYS[4], done) end
  end
end
if ARGV[7] == '1' then safe, keeper = everything, '' end

-- Whole nodes of the stream first, which costs little however many they are; then the rest, less than a node.
local removed, more, held = 0, 0, ''
local function trim(how, what)
  local gone = redis.call('XTRIM', stream, how, '~', what, 'LIMIT', NODES)
  if gone * 2 > NODES then
    more = 1
  else
    gone = gone + redis.call('XTRIM', stream, how, '=', what)
  end
  removed = removed + gone
end

if ARGV[3] == '1' and groups[1] then trim('MINID', safe) end
if ARGV[5] ~= '0' then
  local oldest = string.format('%.0f-0', now - ARGV[5])
  trim('MINID', less(safe, oldest) and safe or oldest)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if more == 0 and first and less(first[1], oldest) then held = keeper end
end

local length = redis.call('XLEN', stream)
local keep = ARGV[4] ~= '0' and math.min(length, ARGV[4]) or length
if ARGV[6] ~= '0' and length > 0 then
  local bytes = redis.call('MEMORY', 'USAGE', stream)
  if bytes > tonumber(ARGV[6]) then keep = math.min(keep, math.floor(length * ARGV[6] / bytes)) end
end
if keep < length and safe == everything then
  trim('MAXLEN', keep)
elseif keep < length then
  -- Where a group stands in between, the entries before it have to be counted.
  local size = 100
  for _, value in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][2]) do size = size + #value end
  local step = math.max(1, math.min(length - keep, STEP, math.floor(LARGE / size)))
  local rows, free = redis.call('XRANGE', stream, '-', '+', 'COUNT', step), 0
  while rows[free + 1] and less(rows[free + 1][1], safe) do free = free + 1 end
  if free > 0 then removed = removed + redis.call('XTRIM', stream, 'MAXLEN', '=', length - free) end
  if free < #rows then held = keeper elseif length - free > keep then more = 1 end
end

local adopted, repaired = 0, 0
if known and ARGV[2] ~= '0' then
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, mine)) do
    local name, has = field(consumer, 'name'), field(consumer, 'pending')
    if name == '~later' then
      if has > redis.call('ZCARD', KEYS[3]) then
        local from = '-'
        for _ = 1, 10 do
          local rows = redis.call('XPENDING', stream, mine, from, '+', PAGE, name)
          for _, row in ipairs(rows) do
            repaired = repaired + redis.call('ZADD', KEYS[3], 'NX', string.format('%.0f', now), row[1])
          end
          if #rows < PAGE then break end
          from = '(' .. rows[#rows][1]
        end
      end
    elseif has > 0 then
      adopted = adopted + redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now + ARGV[2]), name)
    elseif field(consumer, 'idle') > 10 * ARGV[2] and not redis.call('ZSCORE', KEYS[2], name) then
      redis.call('XGROUP', 'DELCONSUMER', stream, mine, name) -- one that read once more after it had left
    end
  end
end
return {removed, more, held, adopted, repaired}
