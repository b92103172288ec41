--[[
open-lots: open those of the given lots whose opening time has passed, by Redis's clock. Repeating it changes
nothing. A bid opens its lot in the same way (place-bids.lua), so a late lot clock costs nobody a bid.

KEYS[1] auction  KEYS[2] outbox  KEYS[3] due, then for each lot: lot hash, events stream, closing
ARGV    the lotId of each lot
Reply   {nowMs} where this server is not confirmed, or the auction is suspended or fenced: nothing was done
        {nowMs, lotId of each lot that was opened ...}
--]]
local function is_due(lot, clock)
  return lot.status == "scheduled" and clock >= lot.opens
end
return change_due_lots(is_due, open)
