--[[
close-lots: close those of the given lots whose closing time has passed, by Redis's clock, and record the
result. Repeating it changes nothing. A lot that was not opened in time is opened and closed at once.
Nothing closes while the auction is suspended, or once it is fenced.

KEYS[1] auction  KEYS[2] outbox  KEYS[3] due, then for each lot: lot hash, events stream, closing
ARGV    the lotId of each lot
Reply   {nowMs} where this server is not confirmed, or the auction is suspended or fenced: nothing was done
        {nowMs, lotId of each lot that was closed ...}
--]]
local function is_due(lot, clock)
  return (lot.status == "open" or lot.status == "scheduled") and clock >= lot.closes
end
return change_due_lots(is_due, close)
