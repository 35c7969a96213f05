#!lua flags=no-writes,allow-oom
-- analytics/look: the series of a metric, and what time it is.
--
-- KEYS[1]  series   see admit.lua
-- ARGV[1]  wanted   '1': the series, too
-- returns  {seconds, microseconds, {series}}
-- retry:   safe
-- cost:    O(series)
local time = redis.call('TIME')
local series = ARGV[1] == '1' and redis.call('ZRANGE', KEYS[1], 0, -1) or {}
return {tonumber(time[1]), tonumber(time[2]), series}
