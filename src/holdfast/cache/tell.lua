-- cache/tell: say that a key has changed, where it cannot be said without a key (in a Cluster).
--
-- KEYS[1]  key
-- ARGV[1]  channel
-- returns  1
-- retry:   safe
-- cost:    O(listeners)
redis.call('PUBLISH', ARGV[1], KEYS[1])
return 1
