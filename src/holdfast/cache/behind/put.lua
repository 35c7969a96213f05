-- behind/put: journal a put or a removal, and show it to readers, at once.
--
-- One record per key waits: a newer one takes its place, so that the last one wins and none overtakes another. Its
-- number `seq` is the server's microseconds, or one more than the last where the clock stands still or was set back;
-- so it never repeats, not even after FLUSHALL. `order` keeps the number of the first put of a key that is not applied.
--
-- KEYS[1]  pending  hash    tag -> seq (16 digits) op stamp (8) ttl (13 digits) length of key (5 digits) key envelope
-- KEYS[2]  order    zset    tag, by the number of its first put that is not applied
-- KEYS[3]  state    hash    seq: the last number given
-- KEYS[4]  ids      zset    ids of requests, by the ms until which they can be repeated
-- KEYS[5]  tries    hash    failures so far, by tag
-- KEYS[6]  dead     hash    dead letters, by tag
-- KEYS[7]  entry    what readers find
-- KEYS[8]  lease    the right to fill the entry
-- ARGV[1]  id       of this request
-- ARGV[2]  tag
-- ARGV[3]  op       'p' put, 'r' remove
-- ARGV[4]  ttl      milliseconds for which the entry lives once it is applied, 13 digits; all 0: it is not stored
-- ARGV[5]  length   of the key, 5 digits
-- ARGV[6]  key      as the source knows it, encoded
-- ARGV[7]  envelope
-- ARGV[8]  limit    records that may wait
-- ARGV[9]  until    server milliseconds after which the caller has given up; 0 if unknown
-- ARGV[10] keep     milliseconds for which to remember the id where `until` is unknown; more than any caller waits
-- returns  {1, now} journaled; {0, now} too late; {2, now} full. now = server ms
-- retry:   by request id (the id: of two puts of one key whose first is repeated, the second stays)
-- cost:    O(log(records waiting) + size of the envelope)
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local now = math.floor(micros / 1000)
if ARGV[9] ~= '0' and now > tonumber(ARGV[9]) then return {0, now} end
if redis.call('ZSCORE', KEYS[4], ARGV[1]) then return {1, now} end
local waiting = redis.call('ZCARD', KEYS[2])
local known = redis.call('ZSCORE', KEYS[2], ARGV[2])
if not known and waiting >= tonumber(ARGV[8]) then return {2, now} end
local seq = math.max(tonumber(redis.call('HGET', KEYS[3], 'seq') or 0) + 1, micros)
local written = string.format('%016.0f', seq)
local stamp = string.sub(ARGV[7], 9, 16)
redis.call('HSET', KEYS[3], 'seq', written) -- when memory is full, this is refused, and nothing has happened
redis.call('HSET', KEYS[1], ARGV[2], written .. ARGV[3] .. stamp .. ARGV[4] .. ARGV[5] .. ARGV[6] .. ARGV[7])
if not known then redis.call('ZADD', KEYS[2], written, ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('(%.0f', now))
redis.call('ZADD', KEYS[4], ARGV[9] ~= '0' and ARGV[9] or string.format('%.0f', now + ARGV[10]), ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[10])
redis.call('HDEL', KEYS[5], ARGV[2])
redis.call('HDEL', KEYS[6], ARGV[2]) -- a newer put takes a dead letter's place
if tonumber(ARGV[4]) > 0 then
  redis.call('SET', KEYS[7], ARGV[7]) -- without an end, until it is applied
else
  redis.call('UNLINK', KEYS[7])
end
redis.call('DEL', KEYS[8]) -- a load under way has read the source before this
redis.pcall('SPUBLISH', KEYS[8], 'put')
if waiting == 0 then redis.pcall('SPUBLISH', KEYS[1], 'put') end -- otherwise the writer knows when to look
return {1, now}
