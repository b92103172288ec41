--[[
define-lots: write the rules and the lots of an auction. Until it opens, everything may change. After that, lots
may be withdrawn, closes may move later, and bidding may be suspended and resumed; any other change is refused,
and then nothing is written. Repeating a definition changes nothing. A fenced auction never changes. A
definition with a lower generation than the last one is older: it changes nothing.

When bidding resumes, each lot that was open by then closes later by as long as it took no bids: resumed() of
lot/lifecycle.ts.

KEYS[1] auction  KEYS[2] outbox  KEYS[3] due, then for each lot: lot hash, events stream, closing
ARGV[1] the auction's fields, JSON object of strings; their termsHash covers what is frozen at the opening
ARGV[2] the lots in the order of their keys, JSON: [{lotId, fields: {…}, withdrawn}]. A lot without
        fields is in the store and no longer in the definition
ARGV[3] lotIds of the auction hash, as the caller read it; "" for none

Reply   {"defined"} | {"refused", why} | {"again"}: the store changed since the caller read it
        {"unconfirmed"} | {"outdated"}: nothing was done
--]]
local auction, lots = cjson.decode(ARGV[1]), cjson.decode(ARGV[2])
local clock = now_ms()
local known = redis.call("HMGET", KEYS[1], "lotIds", "termsHash", "opensAtMs", "keysBucket", "pendingBytes",
  "stamped", "fencedId", "rulesHash", "suspended", "suspendedAtMs", "maxJump", "generation")
if (known[1] or "") ~= ARGV[3] then return {"again"} end
if not is_confirmed(KEYS[1]) then return {"unconfirmed"} end
local generation = tonumber(auction.generation)
if generation > 0 and generation < tonumber(known[12] or "0") then return {"outdated"} end
if known[7] then
  if known[8] == auction.rulesHash then return {"defined"} end
  return {"refused", "the auction is fenced: nothing of it changes any more"}
end
local was_suspended, suspends = known[9] == "1", auction.suspended == "1"
local suspended_at = was_suspended and tonumber(known[10]) or clock
-- The time of a suspended auction stopped at the suspension.
local passed = was_suspended and math.min(clock, suspended_at) or clock
for i, definition in ipairs(lots) do
  local was = redis.call("HMGET", KEYS[1 + 3 * i], "status", "seq")
  if was[1] == "withdrawn" and definition.fields and not definition.withdrawn then
    return {"refused", "lot " .. definition.lotId .. " was withdrawn: it stays so"}
  end
  if not definition.fields and tonumber(was[2] or "0") > 0 then
    return {"refused", "lot " .. definition.lotId .. " has events, and cannot be dropped: withdraw it"}
  end
end

local frozen = tonumber(known[3]) and (known[6] or clock >= tonumber(known[3]))
if frozen and known[2] ~= auction.termsHash then
  return {"refused", "the auction is open: its lots and rules are frozen"}
end
if frozen and auction.opensAtMs ~= "" and auction.opensAtMs ~= known[3] then
  return {"refused", "the auction is open: its opening is recorded and never changes"}
end

if frozen then
  for i, definition in ipairs(lots) do
    local asked = tonumber(definition.fields.closesAtMs)
    local was = redis.call("HMGET", KEYS[1 + 3 * i], "opensAtMs", "definedCloseMs", "status")
    if definition.fields.lastsMs ~= "" then asked = tonumber(was[1]) + tonumber(definition.fields.lastsMs) end
    if asked < tonumber(was[2] or 0) then
      return {"refused", "the auction is open: a close may only move later"}
    end
    definition.close = asked
  end
end

-- While Redis is out of memory, lots can still be withdrawn and bids suspended.
if frozen then write_without_memory(KEYS[1]) end

-- An auction that opened before maxJump existed keeps its rules.
local keeps_no_jump = frozen and (known[11] or "") == ""
local fields = {}
for name, value in pairs(auction) do
  if not (name == "opensAtMs" and frozen) and not (name == "maxJump" and keeps_no_jump) then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end
redis.call("HSET", KEYS[1], "suspendedAtMs", suspends and whole(suspended_at) or "")
redis.call("HSET", KEYS[1], "keysBucket", known[4] or "0", "pendingBytes", known[5] or "0", unpack(fields))
local opens = tonumber(redis.call("HGET", KEYS[1], "opensAtMs"))
local increments = cjson.decode(auction.increments)

for i, definition in ipairs(lots) do
  local at = 1 + 3 * i
  local key, lot_id = KEYS[at], definition.lotId
  local keys = {auction = KEYS[1], outbox = KEYS[2], due = KEYS[3],
    events = KEYS[at + 1], closing = KEYS[at + 2]}
  if not definition.fields then
    redis.call("DEL", key, keys.events, keys.closing)
    redis.call("ZREM", KEYS[3], lot_id)
  elseif not frozen then
    local lot_fields = {}
    for name, value in pairs(definition.fields) do
      lot_fields[#lot_fields + 1] = name
      lot_fields[#lot_fields + 1] = value
    end
    if redis.call("HSETNX", key, "status", "scheduled") == 1 then
      redis.call("HSET", key, "epoch", auction.epoch, "seq", "0", "atMs", "0", "extensions", "0",
        "bidCount", "0")
    end
    redis.call("HSET", key, unpack(lot_fields))
    local closes = tonumber(definition.fields.closesAtMs)
    if opens then
      closes = closes or opens + tonumber(definition.fields.lastsMs)
      redis.call("HSET", key, "opensAtMs", whole(opens), "closesAtMs", whole(closes))
      if redis.call("HGET", key, "status") == "scheduled" then
        redis.call("ZADD", KEYS[3], whole(opens), lot_id)
      end
    else
      redis.call("HDEL", key, "opensAtMs", "definedCloseMs")
      redis.call("ZREM", KEYS[3], lot_id)
    end
    if closes then redis.call("HSET", key, "definedCloseMs", whole(closes)) end
  end

  local lot = read_lot(key, lot_id)
  -- Only close-lots closes a lot whose time is over: bids on it were already rejected as late.
  local over = lot and frozen and lot.closes and passed >= lot.closes
  if lot and not over and (lot.status == "scheduled" or lot.status == "open") then
    lot.at = math.max(lot.at, clock)
    local closes = lot.closes
    if was_suspended and not suspends and lot.opens and closes and clock >= lot.opens then
      closes = closes + math.max(0, clock - math.max(suspended_at, lot.opens))
    end
    if definition.withdrawn then
      lot.status, lot.moved = "withdrawn", true
      event(lot, "lot_withdrawn", "")
    else
      if definition.close then
        local defined = tonumber(redis.call("HGET", key, "definedCloseMs") or 0)
        redis.call("HSET", key, "definedCloseMs", whole(definition.close))
        if definition.close > defined then closes = math.max(closes, definition.close) end
      end
      if closes and closes > lot.closes then
        if lot.status == "scheduled" and suspends then
          redis.call("HSET", key, "closesAtMs", whole(closes)) -- its opening event will state it
        else
          if lot.status == "scheduled" then open(lot, increments) end
          lot.closes, lot.moved = closes, true
          event(lot, "lot_extended", string.format(',"closesAtMs":%.0f,"extensions":%.0f',
            lot.closes, lot.extensions))
        end
      end
    end
    append(lot, keys)
  end
  -- Written as it is, so that a transaction of the optimistic strategy that has read it fails.
  if lot and was_suspended ~= suspends then redis.call("HSET", key, "status", lot.status) end
end
return {"defined"}
