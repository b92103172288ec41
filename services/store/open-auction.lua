--[[
open-auction: record the opening time of an auction whose schedule says "as soon as it is ready", once, by
Redis's clock. A second call returns the recorded time. open-lots.lua opens the lots.

KEYS[1] auction  KEYS[2] due, then the hash of each lot
ARGV    the lotId of each lot
Reply   {"undefined"}: no auction here, or this server is not confirmed | {"opens", opensAtMs}
        {"fenced"}: it was never opened, and never opens
--]]
local opens_at = redis.call("HGET", KEYS[1], "opensAtMs")
if not opens_at or not is_confirmed(KEYS[1]) then return {"undefined"} end
if opens_at ~= "" then return {"opens", tonumber(opens_at)} end

if redis.call("HEXISTS", KEYS[1], "fencedId") == 1 then return {"fenced"} end

-- The auction was redefined since the caller read its lots: nothing is recorded.
if redis.call("HGET", KEYS[1], "lotIds") ~= cjson.encode(ARGV) then return {"undefined"} end

local clock = now_ms()
redis.call("HSET", KEYS[1], "opensAtMs", whole(clock), "stamped", "1")
for i, lot_id in ipairs(ARGV) do
  local key = KEYS[2 + i]
  local lot = redis.call("HMGET", key, "status", "closesAtMs", "lastsMs")
  local closes = tonumber(lot[2]) or clock + tonumber(lot[3])
  redis.call("HSET", key, "opensAtMs", whole(clock), "closesAtMs", whole(closes),
    "definedCloseMs", whole(closes))
  if lot[1] == "scheduled" then redis.call("ZADD", KEYS[2], whole(clock), lot_id) end
end
return {"opens", clock}
