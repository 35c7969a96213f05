#!lua flags=no-writes
-- events/load: the snapshot of a stream, and the first events after it.
--
-- KEYS[1]  versions  see append.lua
-- KEYS[2]  events
-- KEYS[3]  snapshot  see snapshot.lua
-- ARGV[1]  name      of the stream
-- ARGV[2]  lowest    schema version of a snapshot that can be read
-- ARGV[3]  highest   of them; 0: take no snapshot
-- ARGV[4]  limit     events at most
-- returns  {version, snapshot or false, events}: snapshot: {version, schema, data}; events: the reply of XRANGE
-- retry:   safe (it only reads)
-- cost:    O(log(events of the stream) + limit)
local version = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local known = redis.call('HMGET', KEYS[3], 'version', 'schema', 'data')
local at, schema, snapshot = tonumber(known[1] or 0), tonumber(known[2] or 0), false
if at > 0 and at <= version and schema >= tonumber(ARGV[2]) and schema <= tonumber(ARGV[3]) then
  snapshot = {at, schema, known[3]}
else
  at = 0
end
local from = string.format('%.0f-0', at + 1)
return {version, snapshot, redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', ARGV[4])}
