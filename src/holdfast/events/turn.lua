#!lua flags=allow-oom
-- events/turn: be, or stay, the one that runs a version of a projection here, and learn where it stands.
--
-- A new version is built beside the active one, up to where that is. When it is close, the active one is held
-- back from its next batch; when that has said so, or nobody runs it, and both are level, the new one becomes
-- the active one. So each event is one's alone, as far as side effects go: the active one's up to there, the
-- new one's from there on (`live`).
--
-- KEYS[1]  meta      see append.lua
-- KEYS[2]  log       a channel: all runners wait there
-- KEYS[3]  progress  hash: at:<projection>:<version> -> the position up to which it has seen all;
--                    by:<projection>:<version> -> who got it there; error:<projection>:<version>
-- KEYS[4]  active    hash: <projection> -> version; held:<projection> -> server milliseconds until which the
--                    active version waits; waits:<projection> -> 1 if it does; live:<projection>:<version> ->
--                    position; off:<projection> -> the highest version that was switched off
-- KEYS[5]  leases    what the keys of the leases of all versions start with: token of whoever runs it here
-- ARGV[1]  name      of the projection, escaped
-- ARGV[2]  version
-- ARGV[3]  token     of the runner
-- ARGV[4]  lease     milliseconds
-- ARGV[5]  close     events that are few enough to hold the active version for them
-- returns  {1, at, live, goal, last} ours: goal: where the active version is, -1 if this is it; live: -1 if
--          this is not it; {0, ms} somebody else's, or held, for so long; {2, version} that one replaced it
-- retry:   safe (who has it, has it)
-- cost:    O(1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local name, version = ARGV[1], tonumber(ARGV[2])
local own, lease = name .. ':' .. ARGV[2], KEYS[5] .. ARGV[2]
local holder = redis.call('GET', lease)
if holder and holder ~= ARGV[3] then return {0, math.max(1, redis.call('PTTL', lease))} end
local state = redis.call('HMGET', KEYS[4], name, 'held:' .. name, 'off:' .. name, 'live:' .. own,
  'waits:' .. name)
local active, held, off, waits = tonumber(state[1]), tonumber(state[2] or 0), tonumber(state[3] or 0), state[5]
if (active and version < active) or (active ~= version and version <= off) then return {2, active or off} end
local last = redis.call('HGET', KEYS[1], 'last') or '0'
redis.call('SET', lease, ARGV[3], 'PX', ARGV[4])
redis.call('HSETNX', KEYS[3], 'at:' .. own, '0')
local at, live = redis.call('HGET', KEYS[3], 'at:' .. own), tonumber(state[4] or -1)
if active == version then
  if held > now then
    if not waits then
      redis.call('HSET', KEYS[4], 'waits:' .. name, '1')
      redis.pcall('SPUBLISH', KEYS[2], '')
    end
    return {0, math.min(held - now, tonumber(ARGV[4]))}
  end
  return {1, tonumber(at), live, -1, tonumber(last)}
end
local goal = last
if active then
  goal = redis.call('HGET', KEYS[3], 'at:' .. name .. ':' .. active) or '0'
  local left = tonumber(goal) - tonumber(at)
  local idle = redis.call('EXISTS', KEYS[5] .. active) == 0
  if left <= tonumber(ARGV[5]) and not idle then
    redis.call('HSET', KEYS[4], 'held:' .. name, string.format('%.0f', now + ARGV[4]))
    if held <= now then -- an earlier word counts no more: it may have gone on since
      waits = false
      redis.call('HDEL', KEYS[4], 'waits:' .. name)
      redis.pcall('SPUBLISH', KEYS[2], '')
    end
  end
  if left > 0 then return {1, tonumber(at), -1, tonumber(goal), tonumber(last)} end
  if not idle and not waits then return {0, tonumber(ARGV[4])} end
end
-- Level with the active version, or there is none: what comes from here on is ours alone, except what was a
-- replay for the other one too.
live = tonumber(goal)
if active then live = math.max(live, tonumber(redis.call('HGET', KEYS[4], 'live:' .. name .. ':' .. active))) end
redis.call('HSET', KEYS[4], name, ARGV[2], 'live:' .. own, string.format('%.0f', live))
redis.call('HDEL', KEYS[4], 'held:' .. name, 'waits:' .. name)
redis.pcall('SPUBLISH', KEYS[3], '')
return {1, tonumber(at), live, -1, tonumber(last)}
