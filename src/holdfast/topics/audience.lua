#!lua flags=no-writes,allow-oom
-- topics/audience: how many connections listen to a topic.
--
-- KEYS[1]  log      see publish.lua; a channel as well
-- returns  connections of subscribers, on this server
-- retry:   safe
-- cost:    O(1)
return redis.call('PUBSUB', 'SHARDNUMSUB', KEYS[1])[2]
