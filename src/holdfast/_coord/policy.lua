#!lua flags=allow-oom
-- _coord/policy: what the server of this slot does with the only copy of something.
--
-- KEYS[1]  key  any of the slot: in a Cluster it says which primary is asked
-- returns  {maxmemory_policy, aof_enabled} as INFO tells them; '' where it may not be asked
-- retry:   safe
-- cost:    O(1)
local _ = KEYS[1] -- named for its slot alone
local function told(section, field)
  local info = redis.pcall('INFO', section)
  return type(info) == 'string' and string.match(info, field .. ':([^\r\n]*)') or ''
end
return {told('memory', 'maxmemory_policy'), told('persistence', 'aof_enabled')}
