#!lua
-- limits/cancel: give back what was booked for a moment that has not come yet.
--
-- KEYS[1]  state    what the subject has used, see book.lua
-- ARGV[1]  before   the state before it was booked, '' none
-- ARGV[2]  after    the state after that
-- ARGV[3]  moment   for which it was booked, in microseconds of the subject's time
-- ARGV[4]  cost     that was booked
-- returns  1 if something was given back, else 0
-- retry:   never (it would be given back twice)
-- cost:    O(limits), and of a log O(its entries)
--
-- If nobody came since, it is as before. If others have booked behind, they stay where they are. Then a bucket
-- gets back the cost, less what drains between our moment and the last one that is booked: so much may be lost
-- there, if the bucket runs dry without us. (As in Reservation.CancelAt of Go's x/time/rate.)
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
-- book.lua comes here
local state = redis.call('MGET', KEYS[1])[1]
local moment, cost = tonumber(ARGV[3]), tonumber(ARGV[4])
local text = string.match(ARGV[2], '^[^|]+')
if not state or string.match(state, '^[^|]+') ~= text then return 0 end -- gone, or others count now
local book = read(KEYS[1], state, text, clock)
if book.stale or moment <= book.now then return 0 end
local hit = digits(moment) .. ' ' .. digits(cost)
for _, limit in ipairs(book.limits) do
  if limit.list then redis.call('LREM', limit.list, -1, hit) end
end
if state == ARGV[2] then
  book = read(KEYS[1], ARGV[1] ~= '' and ARGV[1] or nil, text, clock)
else
  book = read(KEYS[1], state, text, clock)
  for _, limit in ipairs(book.limits) do
    if limit.acts == kinds.g then
      limit.backlog = limit.backlog - max(0, cost * limit.token - units(limit, moment, book.at) * limit.drain)
    elseif limit.acts ~= kinds.l and moment >= limit.acts.keeps(limit, book) then
      limit.acts.refund(limit, book, cost, moment)
    end
  end
end
save(book)
return 1
