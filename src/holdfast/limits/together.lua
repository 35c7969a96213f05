#!lua
-- limits/together: charge costs to several subjects, of several limiters perhaps: to all of them, or to none.
--
-- KEYS[1..] subjects of each one, first its state, then where its own limits are; see book.lua
-- ARGV[1..] limits   of each one, first its limits as text, then the cost, at least 1
-- returns  {0 allowed or -1 denied, then the report of each one, as in check.lua from its second place on};
--          {-2, now, its number} if a window of the calendar is over for one of them
-- retry:   never (it would be charged twice)
-- cost:    O(limits), and of logs O(their entries that have expired)
local time = redis.call('TIME')
local clock = time[1] * 1000000 + time[2]
-- book.lua comes here
local books, allowed = {}, true
for place = 1, #KEYS / 2 do
  local book = open(KEYS[2 * place - 1], KEYS[2 * place], ARGV[2 * place - 1], clock)
  if book.stale then return {-2, book.now, place} end
  book.cost = tonumber(ARGV[2 * place])
  book.moment, book.each = slots(book, book.cost)
  books[place], allowed = book, allowed and book.moment == book.now
end
local reply = {allowed and 0 or -1}
for place, book in ipairs(books) do
  if allowed then charge(book, book.cost, book.now, book.each) end
  reply[place + 1] = report(book, {}, book.each, book.now)
end
return reply
