#!lua flags=allow-oom
-- behind/ack: the source has these records. Forget them, and let their entries end.
--
-- KEYS[1]  pending  see put.lua
-- KEYS[2]  order
-- KEYS[3]  lease    of the partition
-- KEYS[4]  tries
-- KEYS[5..] entry   of each tag, in order
-- ARGV[1]  holder   what the lease must hold
-- ARGV[2..] records  tag, seq, tag, seq, ...
-- returns  records forgotten; -1: the lease is not ours any more
-- retry:   safe (what was forgotten is not there any more, and a newer put has another number)
-- cost:    O(records * log(records waiting))
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return -1 end
local forgotten = 0
for place = 2, #ARGV, 2 do
  local tag, seq = ARGV[place], ARGV[place + 1]
  local record = redis.call('HGET', KEYS[1], tag)
  if record and string.sub(record, 1, 16) == seq then
    redis.call('HDEL', KEYS[1], tag)
    redis.call('ZREM', KEYS[2], tag)
    redis.call('HDEL', KEYS[4], tag)
    local entry, ttl = KEYS[4 + place / 2], tonumber(string.sub(record, 26, 38))
    if ttl > 0 and redis.pcall('GETRANGE', entry, 8, 15) == string.sub(record, 18, 25) then
      redis.call('PEXPIRE', entry, string.format('%.0f', ttl))
    end
    forgotten = forgotten + 1
  elseif record and tonumber(redis.call('ZSCORE', KEYS[2], tag)) <= tonumber(seq) then
    -- Put again meanwhile. No later than this: whoever flushes counts on every put that has a smaller number.
    redis.call('ZADD', KEYS[2], string.format('%.0f', tonumber(seq) + 1), tag)
  end
end
redis.pcall('SPUBLISH', KEYS[2], 'applied') -- wakes who flushes, and who waits for room
return forgotten
