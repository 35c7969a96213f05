-- latch/look: how many are missing.
--
-- KEYS[1]  latch    see arrive.lua
-- KEYS[2]  parties  hash, of those that have arrived in this generation
-- returns  {count or false, generation, the last generation that opened, how many have arrived}
-- retry:   safe
-- cost:    O(1)
local found = redis.call('HMGET', KEYS[1], 'n', 'g', 'o')
return {
  tonumber(found[1]) or false, tonumber(found[2] or 0), tonumber(found[3] or 0), redis.call('HLEN', KEYS[2]),
}
