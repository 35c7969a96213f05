-- cache/claim: the versions of tags that a load turned out to need, if none of them was invalidated since it began.
--
-- KEYS[1]   guard    of the tags' shard; removed whenever one of its tags is invalidated
-- KEYS[2..] tags
-- ARGV[1]   seen     what the guard was before the load
-- ARGV[2]   life     milliseconds for which a version is kept
-- ARGV[3..] fresh    a version for each tag that has none
-- returns   the versions, in order; nothing if the guard is another one by now
-- retry:    safe (a repeated claim finds the versions it made)
-- cost:     O(tags)
local versions = {}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return versions end
for i = 2, #KEYS do
  versions[i - 1] = redis.call('SET', KEYS[i], ARGV[i + 1], 'NX', 'GET', 'PX', ARGV[2]) or ARGV[i + 1]
  if redis.call('PTTL', KEYS[i]) < ARGV[2] / 2 then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
return versions
