--[[
close-lots: close those of the given lots whose time is over, by Redis's clock, and record the result.
Repeating it changes nothing. A lot that nobody opened in time is opened and closed at once.
Nothing closes while the auction is suspended, or once it is fenced.

KEYS[1] auction  KEYS[2] outbox  KEYS[3] due, then for each lot: lot hash, events stream, closing
ARGV    the lotId of each lot
Reply   {nowMs} where this server is not confirmed, or the auction halted: nothing was done
        {nowMs, lotId of each lot that was closed ...}
--]]
local clock = now_ms()
local reply = {clock}
if not is_confirmed(KEYS[1]) or not takes_events(KEYS[1]) then return reply end
local increments = cjson.decode(redis.call("HGET", KEYS[1], "increments"))
for i, lot_id in ipairs(ARGV) do
  local at = 1 + 3 * i
  local lot = read_lot(KEYS[at], lot_id)
  if lot and (lot.status == "open" or lot.status == "scheduled") and lot.closes and lot.opens
    and clock >= lot.closes then
    lot.at = math.max(lot.at, clock)
    close(lot, increments)
    append(lot, {auction = KEYS[1], outbox = KEYS[2], due = KEYS[3],
      events = KEYS[at + 1], closing = KEYS[at + 2]})
    reply[#reply + 1] = lot_id
  end
end
return reply
