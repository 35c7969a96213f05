#!lua flags=allow-oom
-- locks/begin: begin the strict fences of a lock on this server, as it is now.
--
-- KEYS[1]  history  the replication id of the server on which they were begun
-- KEYS[2]  fence    the last one given
-- ARGV[1]  above    the next fence will be greater than this
-- returns  1 begun, 0 the server does not tell its replication id
-- retry:   safe
-- cost:    O(1), and what INFO costs
local info = redis.pcall('INFO', 'replication')
local id = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')
if not id then return 0 end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
redis.call('SET', KEYS[2], string.format('%.0f', math.max(last, tonumber(ARGV[1]))))
redis.call('SET', KEYS[1], id)
return 1
