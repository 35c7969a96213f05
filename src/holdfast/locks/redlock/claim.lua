#!lua flags=allow-oom
-- redlock/claim: take the lock on this node if nobody has it and the node remembers long enough.
--
-- KEYS[1]  lock     '<token>:<fence>:<since>:<owner>'
-- KEYS[2]  fence    the greatest one that was written here
-- KEYS[3]  tomb     exists if this claim was given up; it must not succeed any more
-- ARGV[1]  token    32 hexadecimal digits, new for every attempt
-- ARGV[2]  ttl      milliseconds
-- ARGV[3]  longest  milliseconds that any lease can last: so long a node that was restarted does not count
-- ARGV[4]  synced   run id of which the client knows that every write was synced: it may be young
-- ARGV[5]  owner    'host:pid:label'
-- returns  {1, told, run id, uptime} ours; told: the greater of the fence and the server's microseconds
--          {0, value} held by somebody else
--          {2, uptime, run id} too young, uptime in seconds; -1 where INFO is forbidden
--          {-1} given up
-- retry:   by request id (the token: who has it already is told so again)
-- cost:    O(1), and what INFO costs
local held = redis.call('GET', KEYS[1])
local ours = held and string.sub(held, 1, 33) == ARGV[1] .. ':'
if held and not ours then return {0, held} end
if redis.call('EXISTS', KEYS[3]) == 1 then return {-1} end
local info = redis.pcall('INFO', 'server')
info = type(info) == 'string' and info or ''
local id = string.match(info, 'run_id:(%x+)') or ''
local uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or -1)
-- Both its ends are cut to whole seconds, so it may say up to one second too much.
if not ours and (uptime - 1) * 1000 < tonumber(ARGV[3]) and (id == '' or id ~= ARGV[4]) then
  return {2, uptime, id}
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if ours then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  local since = string.format('%.0f', math.floor(now / 1000))
  redis.call('SET', KEYS[1], ARGV[1] .. ':0:' .. since .. ':' .. ARGV[5], 'PX', ARGV[2])
end
return {1, math.max(tonumber(redis.call('GET', KEYS[2]) or 0), now), id, uptime}
