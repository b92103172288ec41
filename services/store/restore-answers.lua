--[[
restore-answers: make room for the idempotency answers of the present window and the one before, so that
what is written into them next is kept as long as place-bids.lua would keep it.

KEYS[1] auction  KEYS[2] keys:0  KEYS[3] keys:1
ARGV    bucket: of the present window; windows are place-bids.lua's
Reply   1
--]]
local bucket = tonumber(ARGV[1])
local kept = tonumber(redis.call("HGET", KEYS[1], "keysBucket") or "0")
if bucket > kept then
  redis.call("UNLINK", KEYS[2 + bucket % 2])
  if bucket > kept + 1 then redis.call("UNLINK", KEYS[2 + (bucket + 1) % 2]) end
  redis.call("HSET", KEYS[1], "keysBucket", whole(bucket))
end
return 1
