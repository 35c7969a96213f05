#!lua flags=allow-oom
-- operations/repair: put records back into the index where they are missing or in the wrong place.
--
-- KEYS[1]  due    see begin.lua; a channel as well
-- KEYS[2]  names
-- KEYS[3]  dead
-- KEYS[4]  done
-- KEYS[5..] record of each name
-- ARGV[1..] names
-- returns  how many were wrong
-- retry:   safe
-- cost:    O(records * log(operations))
local indexes, wrong = {KEYS[1], KEYS[2], KEYS[3], KEYS[4]}, 0
for at, name in ipairs(ARGV) do
  local known = redis.call('HMGET', KEYS[4 + at], 'state', 'until', 'changed')
  local state = known[1]
  local pending = state == 'running' or state == 'waiting'
  local want = {pending and known[2] or false, pending and '0' or false,
    state == 'dead' and known[3] or false, state == 'done' and known[3] or false}
  local touched = false
  for which, index in ipairs(indexes) do
    local has, wanted = redis.call('ZSCORE', index, name), want[which]
    if wanted and tonumber(has or -1) ~= tonumber(wanted) then
      redis.call('ZADD', index, wanted, name)
      touched = true
    elseif has and not wanted then
      redis.call('ZREM', index, name)
      touched = true
    end
  end
  if touched then wrong = wrong + 1 end
end
if wrong > 0 then redis.pcall('SPUBLISH', KEYS[1], 'repaired') end
return wrong
