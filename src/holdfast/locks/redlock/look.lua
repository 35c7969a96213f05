-- redlock/look: who has the lock on this node, and for how long the node has been up.
--
-- KEYS[1]  lock
-- returns  {value or false, pttl, uptime in seconds or -1 where INFO is forbidden, run id}
-- retry:   safe
-- cost:    O(1), and what INFO costs
local info = redis.pcall('INFO', 'server')
info = type(info) == 'string' and info or ''
return {
  redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]),
  tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or -1), string.match(info, 'run_id:(%x+)') or '',
}
