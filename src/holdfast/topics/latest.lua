#!lua flags=no-writes
-- topics/latest: the last messages that are kept.
--
-- KEYS[1]  log      see publish.lua
-- KEYS[2]  state    see publish.lua
-- ARGV[1]  limit    messages
-- returns  as look.lua; the messages are the last ones, the latest first
-- retry:   safe
-- cost:    O(log(kept) + messages)
local state = redis.call('HMGET', KEYS[2], 'epoch', 'ms', 'offset')
if not state[1] then return {} end
local messages = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', ARGV[1])
return {state[1], tonumber(state[2]), tonumber(state[3]), 1, messages}
