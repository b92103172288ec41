--[[
mark-deleted: note that an auction is deleted, before its keys are, so that nothing is claimed for it any more.

KEYS[1] cleaned  string  expires
ARGV    its lifetime in seconds
Reply   1
--]]
-- Deleting frees memory: without the DEL, Redis refuses SET while it is out of memory.
redis.call("DEL", KEYS[1])
redis.call("SET", KEYS[1], "1", "EX", ARGV[1])
return 1
