#!lua flags=allow-oom
-- cache/finish: a put that stores nothing is over: remove the entry, fills under way, and its own mark (begin.lua).
--
-- KEYS[1]  entry
-- KEYS[2]  lease
-- ARGV[1]  id  of the put
-- returns  1
-- retry:   safe
-- cost:    O(puts of this key under way)
redis.call('UNLINK', KEYS[1])
local held = redis.call('GET', KEYS[2]) or ''
local marks = {}
if string.sub(held, 1, 2) ~= 'F:' then
  for id, ends in string.gmatch(held, '(%x+)@(%d+)') do
    if id ~= ARGV[1] then marks[#marks + 1] = id .. '@' .. ends end
  end
end
if #marks > 0 then
  -- The others overlapped with this one: none of them may store any more.
  redis.call('SET', KEYS[2], 'X:' .. table.concat(marks, ','), 'KEEPTTL')
elseif held ~= '' then
  redis.call('DEL', KEYS[2])
end
redis.pcall('SPUBLISH', KEYS[2], 'finished')
return 1
