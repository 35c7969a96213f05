#!lua flags=no-writes
-- topics/look: what was said after a position.
--
-- KEYS[1]  log      see publish.lua
-- KEYS[2]  state    see publish.lua
-- ARGV[1]  epoch    of the position; '-' before any
-- ARGV[2]  ms       of the position, milliseconds
-- ARGV[3]  offset   of the position
-- ARGV[4]  limit    messages
-- returns  {} nothing is known of the topic; {epoch, ms, offset of the last message, whole, messages}
--          whole: 1 if the message at the position is known, so that nothing is missing behind it;
--          messages: {id, {field, value}}, those behind the position, or all that are kept of another epoch
-- retry:   safe
-- cost:    O(log(kept) + messages)
local state = redis.call('HMGET', KEYS[2], 'epoch', 'ms', 'offset', 'before')
if not state[1] then return {} end
local epoch, ms, offset, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local whole, from = 0, '-'
if epoch == state[1] then
  local id = ms .. '-' .. offset
  from = '(' .. id
  -- The id names one message, not just a number: after a failover that lost some, the numbers are given again.
  local known = (ms == state[2] and offset == state[3]) or id == state[4]
  if known or redis.call('XRANGE', KEYS[1], id, id)[1] then whole = 1 end
end
local messages = limit > 0 and redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[4]) or {}
return {state[1], tonumber(state[2]), tonumber(state[3]), whole, messages}
