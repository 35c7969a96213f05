#!lua flags=allow-oom
-- behind/fail: the source did not take one record. Hold it back for a while, or make it a dead letter.
--
-- KEYS[1]  pending   see put.lua
-- KEYS[2]  order
-- KEYS[3]  lease     of the partition
-- KEYS[4]  tries     see take.lua
-- KEYS[5]  dead      tag -> ms (13 digits) attempts (5 digits) length of error (5 digits) error record
-- KEYS[6]  entry
-- KEYS[7]  fill      the right to fill the entry
-- ARGV[1]  holder    what the lease must hold
-- ARGV[2]  tag
-- ARGV[3]  seq
-- ARGV[4]  counts    0: no attempt, as the source was away; 1: one; 2: one if a 1 came before; 3: one
-- ARGV[5]  attempts  at which it is dead
-- ARGV[6]  first     rest after the first failure, microseconds; doubled with each
-- ARGV[7]  longest   rest, microseconds
-- ARGV[8]  dice      0 to 1: the part of the rest that is rested
-- ARGV[9]  id        hexadecimal, of this failure
-- ARGV[10] error     text
-- returns  attempts so far; 0: this was none, or it was replaced meanwhile; -1: the lease is not ours any more; -2: dead now
-- retry:   by request id (the id)
-- cost:    O(log(records waiting) + size of the record)
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return -1 end
local tag, seq = ARGV[2], ARGV[3]
local record = redis.call('HGET', KEYS[1], tag)
if not record then
  local buried = redis.call('HGET', KEYS[5], tag)
  if not buried then return 0 end
  local at = 24 + tonumber(string.sub(buried, 19, 23))
  return string.sub(buried, at, at + 15) == seq and -2 or 0
end
if string.sub(record, 1, 16) ~= seq then return 0 end
local tried = redis.call('HGET', KEYS[4], tag) or ''
local before, rounds, attempts, proved, id = string.match(tried, '^(%d+):(%d+):(%d+):(%d):(%x+):')
if before ~= seq then rounds, attempts, proved = 0, 0, '0' end -- its newer record starts afresh
rounds, attempts = tonumber(rounds), tonumber(attempts)
if before == seq and id == ARGV[9] then return attempts end -- told before, and the reply was lost
rounds = rounds + 1
if ARGV[4] == '1' then proved = '1' end
local counts = ARGV[4] == '3' or (ARGV[4] ~= '0' and proved == '1')
if counts then attempts = attempts + 1 end
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
if attempts < tonumber(ARGV[5]) then
  local rest = math.min(tonumber(ARGV[7]), ARGV[6] * 2 ^ math.min(rounds - 1, 40)) * ARGV[8]
  local next = micros + rest
  local told = string.format('%s:%d:%d:%s:%s:%.0f', seq, rounds, attempts, proved, ARGV[9], next)
  redis.call('HSET', KEYS[4], tag, told)
  return counts and attempts or 0
end
local told = string.format('%013.0f%05d%05d', micros / 1000, attempts, #ARGV[10])
redis.call('HSET', KEYS[5], tag, told .. ARGV[10] .. record)
redis.call('HDEL', KEYS[1], tag)
redis.call('ZREM', KEYS[2], tag)
redis.call('HDEL', KEYS[4], tag)
redis.call('UNLINK', KEYS[6], KEYS[7]) -- from now on readers see what the source has
redis.pcall('SPUBLISH', KEYS[7], 'dead')
redis.pcall('SPUBLISH', KEYS[2], 'dead')
return -2
