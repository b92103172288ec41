--[[
restore-answers: rotate the two hashes of idempotency answers to the present window, as place-bids.lua does, so
that restored answers are kept as long as new ones.

KEYS[1] auction  KEYS[2] keys:0  KEYS[3] keys:1
ARGV    the number of the present window, as place-bids.lua counts them
Reply   1
--]]
local bucket = tonumber(ARGV[1])
local kept = tonumber(redis.call("HGET", KEYS[1], "keysBucket") or "0")
if bucket > kept then
  redis.call("UNLINK", KEYS[2 + bucket % 2])
  if bucket > kept + 1 then redis.call("UNLINK", KEYS[2 + (bucket + 1) % 2]) end
  redis.call("HSET", KEYS[1], "keysBucket", whole(bucket), "keysBytes", "0")
end
return 1
