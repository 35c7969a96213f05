#!lua flags=no-writes
-- events/read: some events of one stream, and the version it has.
--
-- KEYS[1]  versions  see append.lua
-- KEYS[2]  events
-- ARGV[1]  name      of the stream
-- ARGV[2]  command   XRANGE, or XREVRANGE for the newest first
-- ARGV[3]  from      id of the first, or '-' or '+'
-- ARGV[4]  to        id of the last
-- ARGV[5]  limit     events at most
-- returns  {version, events}: the reply of XRANGE
-- retry:   safe (it only reads)
-- cost:    O(log(events of the stream) + limit)
local version = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
return {version, redis.call(ARGV[2], KEYS[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])}
