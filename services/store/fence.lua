--[[
fence: end bidding in the auction for good. Lots whose closing time has passed get their results in the same
step. No event is recorded after it, so the returned id is the last one of the outbox. A repeated call changes
nothing and returns the same reply.

The hash of every lot is touched, so that an optimistic transaction that has read it fails.

KEYS[1] auction  KEYS[2] outbox  KEYS[3] due, then for each lot: lot hash, events stream, closing
ARGV    the lotId of each lot
Reply   {"undefined"}: no auction here, or not these lots | {"unconfirmed"}: nothing was done
        {"fenced", fencedId, fencedAtMs}
--]]
local known = redis.call("HMGET", KEYS[1], "lotIds", "fencedId", "fencedAtMs", "suspended", "suspendedAtMs",
  "increments")
if not known[1] then return {"undefined"} end
if known[2] then return {"fenced", known[2], tonumber(known[3])} end
if not is_confirmed(KEYS[1]) then return {"unconfirmed"} end
if known[1] ~= cjson.encode(ARGV) then return {"undefined"} end

write_without_memory(KEYS[1])
local clock = now_ms()
-- The time of a suspended auction stopped at the suspension.
local passed = known[4] == "1" and math.min(clock, tonumber(known[5]) or clock) or clock
local increments = cjson.decode(known[6])
local fenced_at = clock
for i, lot_id in ipairs(ARGV) do
  local at = 1 + 3 * i
  local lot = read_lot(KEYS[at], lot_id)
  if lot then
    if (lot.status == "open" or lot.status == "scheduled") and lot.closes and lot.opens
      and passed >= lot.closes then
      lot.at = math.max(lot.at, clock)
      close(lot, increments)
      append(lot, {auction = KEYS[1], outbox = KEYS[2], due = KEYS[3],
        events = KEYS[at + 1], closing = KEYS[at + 2]})
    end
    fenced_at = math.max(fenced_at, lot.at)
    redis.call("HSET", KEYS[at], "status", lot.status)
    redis.call("DEL", KEYS[at + 2])
  end
end
redis.call("DEL", KEYS[3])
local fenced_id = last_id(KEYS[2])
redis.call("HSET", KEYS[1], "fencedId", fenced_id, "fencedAtMs", whole(fenced_at))
return {"fenced", fenced_id, fenced_at}
