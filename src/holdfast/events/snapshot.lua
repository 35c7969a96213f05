#!lua
-- events/snapshot: keep the state that a stream has at a version, unless a newer one is kept.
--
-- KEYS[1]  versions  see append.lua
-- KEYS[2]  snapshot  hash: version, schema, data
-- ARGV[1]  name      of the stream
-- ARGV[2]  version   of the stream after the last event that the state has in it
-- ARGV[3]  schema    version of the state's type
-- ARGV[4]  data
-- returns  {1, version} kept, or a newer one is; {0, version} the stream has only so many
-- retry:   safe (a repeated snapshot is the same)
-- cost:    O(size of the state)
local version = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
if tonumber(ARGV[2]) > version then return {0, version} end
local known = redis.call('HMGET', KEYS[2], 'version', 'schema')
if known[2] ~= ARGV[3] or tonumber(known[1]) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[2], 'version', ARGV[2], 'schema', ARGV[3], 'data', ARGV[4])
end
return {1, version}
