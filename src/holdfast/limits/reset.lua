#!lua
-- limits/reset: forget what a subject has used.
--
-- KEYS[1]  state    what it has used, see book.lua
-- returns  1, or 0 if nothing was known
-- retry:   safe
-- cost:    O(limits), and of a log O(its entries)
-- book.lua comes here
local state = redis.call('MGET', KEYS[1])[1]
for _, limit in ipairs(told(string.match(state or '', '^[^|]*'), KEYS[1]) or {}) do
  if limit.list then redis.call('UNLINK', limit.list) end
end
return redis.call('UNLINK', KEYS[1])
