#!lua flags=allow-oom
-- leader/tell: tell those who observe that somebody leads now.
--
-- KEYS[1]  leader   the key of the leadership
-- returns  1
-- retry:   safe
-- cost:    O(1)
redis.pcall('SPUBLISH', KEYS[1] .. ':w:observers', 'elected')
return 1
