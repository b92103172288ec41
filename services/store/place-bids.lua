--[[
place-bids: decide a batch of bids on one lot, in their order, and record the accepted ones. A batch of N gives
the same answers and events as N calls with one bid.

The rules are those of decide() in lot/decide.ts, in the same order; place-bids.live.test.ts compares the two.
The clock is Redis's: the clocks of gateways differ, and a slow one would accept bids after the close. The
first bid after opensAtMs opens the lot.

KEYS[1] auction  hash    the rules, keysBucket, keysBytes (of its hash), pendingBytes, confirmedServer,
                         suspended, fencedId (no bid is accepted once it is set); ahead:<lotId>: a position
                         that was in a reply to a caller and that this store does not have, for archival
KEYS[2] outbox   stream  every event, for the relay and the broadcast tier
KEYS[3] due      zset    lots by their next opening or close
KEYS[4] keys:0   hash    idempotency: lot:bidder:key -> answer of an accepted bid. The two hashes alternate
KEYS[5] keys:1   hash    every KEYS_WINDOW_MS, so an answer is kept for one to two windows
KEYS[6] lot      hash
KEYS[7] events   stream  the lot's own events, ids <epoch>-<seq>
KEYS[8] closing  string  expires at the lot's close; the optimistic strategy watches it
ARGV    lotId, knownEpoch, knownSeq: the highest position of the lot in any reply to the caller, deadlineMs by
        Redis's clock, run_id of the server that the caller is connected to (server-identity.ts),
        traceparent of the call or "", then for each bid:
        bidId, bidder (JSON string), key (JSON string), amountMinor

Reply   {"undefined"}           no auction here (yet)            nothing was decided
        {"expired", nowMs}      the deadline has passed          nothing was decided
        {"regressed", nowMs}    the store is behind the caller   nothing was decided
        {"unconfirmed", nowMs}  archival has not compared it     nothing was decided
        {"unknown_lot", nowMs}
        {"decided", nowMs, epoch, seq, closesAtMs or "", answer of each bid ...}
Answer  "accepted <amountMinor> <bidId> <epoch> <seq> <placedAtMs> <closesAtMs> <minimumMinor>"; kept under the
        key. The release before this one reads it, too: its gateways run beside these during an upgrade
        "<rejection> <minimumMinor> <maximumMinor> <seq>": withdrawn closed suspended not_open too_low
        too_high jump_too_large, judged at seq
        "full": nothing was decided: the outbox is at its limit, or the keys of this window
        "key_reused": the same key was used before with another amount
--]]
local KEYS_WINDOW_MS = 10 * 60 * 1000
local KEY_OVERHEAD_BYTES = 64 -- as in memory-budget.ts
local MAX_MINOR = 9007199254740991 -- 2^53 - 1, as in money.ts

local lot_id, known_epoch, known_seq = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = now_ms()

local increments_json, window, extension, max_extensions, max_amount, max_jump, reserve_disclosure,
  pending_bytes, max_pending_bytes, keys_bytes, max_keys_bytes, keys_bucket, confirmed_server, suspended, fenced_id =
  unpack(redis.call("HMGET", KEYS[1],
    "increments", "windowMs", "extensionMs", "maxExtensions", "maxAmountMinor", "maxJump", "reserveDisclosure",
    "pendingBytes", "maxPendingBytes", "keysBytes", "maxKeysBytes", "keysBucket", "confirmedServer", "suspended", "fencedId"))
if not increments_json then return {"undefined"} end
if clock > tonumber(ARGV[4]) then return {"expired", clock} end

local lot = read_lot(KEYS[6], lot_id)
if not lot then return {"unknown_lot", clock} end
if lot.epoch < known_epoch or (lot.epoch == known_epoch and lot.seq < known_seq) then
  local ahead = redis.call("HGET", KEYS[1], "ahead:" .. lot_id)
  local epoch, seq = string.match(ahead or "0-0", "(%d+)-(%d+)")
  epoch, seq = tonumber(epoch), tonumber(seq)
  if known_epoch > epoch or (known_epoch == epoch and known_seq > seq) then
    redis.call("HSET", KEYS[1], "ahead:" .. lot_id, whole(known_epoch) .. "-" .. whole(known_seq))
  end
  return {"regressed", clock}
end
if confirmed_server and confirmed_server ~= ARGV[5] then return {"unconfirmed", clock} end

local increments = cjson.decode(increments_json)
window, extension = tonumber(window), tonumber(extension)
max_extensions, max_amount, max_jump = tonumber(max_extensions), tonumber(max_amount), tonumber(max_jump)
local is_hidden, is_suspended = reserve_disclosure == "Hidden", suspended == "1"

local bucket, kept = math.floor(clock / KEYS_WINDOW_MS), tonumber(keys_bucket)
if bucket > kept then
  redis.call("UNLINK", KEYS[4 + bucket % 2])
  if bucket > kept + 1 then redis.call("UNLINK", KEYS[4 + (bucket + 1) % 2]) end
  redis.call("HSET", KEYS[1], "keysBucket", whole(bucket), "keysBytes", "0")
  keys_bytes = "0"
else
  bucket = kept
end
local current, previous = KEYS[4 + bucket % 2], KEYS[4 + (bucket + 1) % 2]
local is_full = tonumber(pending_bytes) >= tonumber(max_pending_bytes)
  or tonumber(keys_bytes or "0") >= (tonumber(max_keys_bytes or "") or math.huge)

local names = {}
for i = 7, #ARGV, 4 do names[#names + 1] = lot_id .. ":" .. ARGV[i + 1] .. ":" .. ARGV[i + 2] end
local recent = redis.call("HMGET", current, unpack(names))
local older = redis.call("HMGET", previous, unpack(names))

lot.at = math.max(lot.at, clock)
local minimum = minimum_of(lot, increments)
local answered, to_keep, kept_bytes = {}, {}, 0

-- As in increments.ts: never below the minimum. An auction that opened before maxJump existed has no limit.
local function maximum_of(least)
  local highest = math.max(max_amount, least)
  return max_jump and math.min(highest, max_jump * math.max(least, increments[1][2])) or highest
end

local function decide(bid_id, bidder, key, amount)
  local rejection
  if lot.status == "withdrawn" then rejection = "withdrawn"
  elseif lot.status == "closed" or fenced_id then rejection = "closed"
  elseif is_suspended then rejection = "suspended"
  elseif not lot.opens or not lot.closes or lot.at < lot.opens then rejection = "not_open"
  elseif lot.at >= lot.closes then rejection = "closed"
  elseif amount < minimum then rejection = "too_low"
  elseif amount > math.max(max_amount, minimum) or minimum_after(increments, amount) > MAX_MINOR then
    rejection = "too_high"
  elseif amount > maximum_of(minimum) then rejection = "jump_too_large"
  end
  if rejection then
    return string.format("%s %.0f %.0f %.0f", rejection, minimum, maximum_of(minimum), lot.seq)
  end

  if lot.status == "scheduled" then open(lot, increments) end
  local closes = lot.closes
  if window > 0 and closes - lot.at <= window and lot.extensions < max_extensions then
    closes = math.max(closes, lot.at + extension)
  end
  lot.bid_id, lot.bidder, lot.amount, lot.bids = bid_id, bidder, amount, lot.bids + 1
  minimum = minimum_after(increments, amount)
  lot.sum = sum_after(lot.sum, amount)
  local reserve_met = "null"
  if lot.reserve and not is_hidden then reserve_met = tostring(amount >= lot.reserve) end
  event(lot, "bid_accepted", string.format(
    ',"bidId":"%s","bidderId":%s,"amountMinor":%.0f,"minimumMinor":%.0f,"closesAtMs":%.0f,"reserveMet":%s,"key":%s',
    bid_id, bidder, amount, minimum, closes, reserve_met, key))
  local answer = string.format("accepted %.0f %s %.0f %.0f %.0f %.0f %.0f",
    amount, bid_id, lot.epoch, lot.seq, lot.at, closes, minimum)
  if closes ~= lot.closes then
    lot.closes, lot.extensions, lot.moved = closes, lot.extensions + 1, true
    event(lot, "lot_extended", string.format(',"closesAtMs":%.0f,"extensions":%.0f',
      closes, lot.extensions))
  end
  return answer
end

local reply = {"decided", clock, 0, 0, ""}
for i = 1, #names do
  local at, name = 4 * i + 3, names[i]
  local earlier = answered[name] or recent[i] or older[i]
  local amount = tonumber(ARGV[at + 3])
  if not earlier and is_full then
    reply[#reply + 1] = "full"
  elseif not earlier then
    local answer = decide(ARGV[at], ARGV[at + 1], ARGV[at + 2], amount)
    if string.sub(answer, 1, 9) == "accepted " then
      answered[name] = answer
      to_keep[#to_keep + 1] = name
      to_keep[#to_keep + 1] = answer
      kept_bytes = kept_bytes + #name + #answer + KEY_OVERHEAD_BYTES
    end
    reply[#reply + 1] = answer
  elseif string.match(earlier, "^accepted (%d+) ") == ARGV[at + 3] then
    reply[#reply + 1] = earlier
  else
    reply[#reply + 1] = "key_reused"
  end
end

append(lot, {auction = KEYS[1], outbox = KEYS[2], due = KEYS[3], events = KEYS[7], closing = KEYS[8]}, ARGV[6])
if #to_keep > 0 then
  redis.call("HSET", current, unpack(to_keep))
  redis.call("HINCRBY", KEYS[1], "keysBytes", kept_bytes)
end
reply[3], reply[4] = lot.epoch, lot.seq
if lot.closes then reply[5] = whole(lot.closes) end
return reply
