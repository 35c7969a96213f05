#!lua
-- limits/adjust: give back a part of what a subject has used; or charge more, whether it fits in or not.
--
-- KEYS[1]  state    what it has used, see book.lua
-- KEYS[2]  own      limits of its own, if it has any
-- ARGV[1]  limits   as text, see book.lua
-- ARGV[2]  cost     to charge; below 0: to give back
-- ARGV[3]  since    when what is given back was charged, in microseconds of the subject's time; '' just now
-- returns  1, or 0 if there was nothing to give back; {-2, now} if a window of the calendar is over
-- retry:   never (it would be done twice)
-- cost:    O(limits), and of a log O(its entries that have expired, and that are given back)
--
-- While somebody waits for a moment that was booked, nothing is given back: his moment was reckoned with what
-- was used before.
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
-- book.lua comes here
local book = open(KEYS[1], KEYS[2], ARGV[1], clock)
if book.stale then return {-2, book.now} end
local cost = tonumber(ARGV[2])
if cost < 0 and (book.state == '' or book.at > book.now) then return 0 end
local since = tonumber(ARGV[3]) or book.now
for _, limit in ipairs(book.limits) do
  if cost > 0 then
    limit.acts.charge(limit, book, cost, book.at)
  elseif since >= limit.acts.keeps(limit, book) then
    limit.acts.refund(limit, book, -cost, since)
  end
end
save(book)
return 1
