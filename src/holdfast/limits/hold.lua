#!lua
-- limits/hold: charge a cost to all limits of a subject at the first moment, soon enough, at which it fits in.
--
-- KEYS[1]  state    what it has used, see book.lua
-- KEYS[2]  own      limits of its own, if it has any
-- ARGV[1]  limits   as text, see book.lua
-- ARGV[2]  cost     at least 1
-- ARGV[3]  wait     microseconds until the last moment that is soon enough
-- returns  {microseconds to wait or -1 too late, the moment, the state before, the state after, report}, the report as
--          in check.lua from its second place on; {-2, now} and {-3} as there
-- retry:   never (it would be charged twice)
-- cost:    O(limits), and of a log O(its entries that have expired)
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
-- book.lua comes here
local book = open(KEYS[1], KEYS[2], ARGV[1], clock)
if missing then return {-3} end
if book.stale then return {-2, book.now} end
local cost = tonumber(ARGV[2])
local moment, each = slots(book, cost)
local late = not moment or moment - book.now > tonumber(ARGV[3])
for _, limit in ipairs(late and {} or book.limits) do
  late = late or limit.acts == kinds.c and moment >= limit.token -- which window comes then is not known
    or limit.acts == kinds.g and (moment - book.now) / limit.unit * limit.drain > DEEPEST / 2
end
if late then
  if book.moved then save(book) end
  return {-1, 0, '', '', report(book, {}, each, book.now)}
end
local before, after = book.state, charge(book, cost, moment, each)
return {moment - book.now, moment, before, after, report(book, {}, each, moment)}
