#!lua flags=no-writes
-- events/query: read a key of whichever version of a projection is the active one.
--
-- KEYS[1]  active  see turn.lua
-- KEYS[2]  models  what the keys of all versions start with
-- ARGV[1]  name    of the projection, escaped
-- ARGV[2]  part    of the key, escaped
-- ARGV[3]  command that reads
-- ARGV[4..] args   of the command, behind its key
-- returns  what the command returns; false while there is no active version
-- retry:   safe (it only reads: the server refuses all else)
-- cost:    O(the command)
local version = redis.call('HGET', KEYS[1], ARGV[1])
if not version then return false end
return redis.call(ARGV[3], KEYS[2] .. version .. ':' .. ARGV[2], unpack(ARGV, 4))
