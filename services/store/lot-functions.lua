-- Functions that the scripts share; connect.ts prepends this file to each of them.
--
-- A script reads a lot into a table, changes the table, and records the change with append(): no other
-- function writes events. Redis does not undo a script that fails half-way, so append() first makes the only
-- call that can be refused: XADD to the lot's own stream, whose ids are <epoch>-<seq>, refuses an id
-- that is not above the last one.
--
-- No text is built from raw input: bidders and keys arrive as JSON string literals.
-- whole() formats numbers: cjson and ".." turn amounts from 10^14 on into 1e+14.

local LOT_STREAM_BYTES = 1048576 -- older events are in the archive
local SUM_MODULUS = 1e15 -- as in digest.ts: a double holds two such sums exactly

local function whole(number) return string.format("%.0f", number) end

local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lets the script write although Redis is out of memory, which is checked up to the first write only. For scripts that
-- free memory, or end a lot or an auction: refusing them would keep memory full.
local function write_without_memory(hash) redis.call("HDEL", hash, "") end

-- The run_id of this Redis, as server-identity.ts reads it.
local function run_id()
  return string.match(redis.call("INFO", "server"), "run_id:(%w+)")
end

-- Whether this server may decide: archival has compared its data, or no server was ever confirmed. INFO costs
-- some 20 µs, so only scripts that run seldom call this; place-bids.lua gets the run_id from its caller.
local function is_confirmed(auction)
  local confirmed = redis.call("HGET", auction, "confirmedServer")
  return not confirmed or confirmed == run_id()
end

-- Whether lots may open, close or take bids: the auction is neither suspended nor fenced.
local function takes_events(auction)
  local halted = redis.call("HMGET", auction, "suspended", "fencedId")
  return halted[1] ~= "1" and not halted[2]
end

-- The highest id that a stream ever had; "0-0" for none.
local function last_id(stream)
  if redis.call("EXISTS", stream) == 0 then return "0-0" end
  local info = redis.call("XINFO", "STREAM", stream)
  for i = 1, #info, 2 do
    if info[i] == "last-generated-id" then return info[i + 1] end
  end
end

local function sum_after(sum, amount)
  return math.fmod(sum + math.fmod(amount, SUM_MODULUS), SUM_MODULUS)
end

-- Returns nil for an unknown lot.
local function read_lot(key, lot_id)
  local f = redis.call("HMGET", key, "status", "epoch", "seq", "atMs", "opensAtMs", "closesAtMs",
    "extensions", "startMinor", "reserveMinor", "bidId", "bidder", "amountMinor", "bidCount",
    "sumMinor", "chain", "streamBytes", "streamFrom")
  if not f[1] then return nil end
  return {
    id = lot_id, key = key, status = f[1], epoch = tonumber(f[2]), seq = tonumber(f[3]),
    at = tonumber(f[4]), opens = tonumber(f[5]), closes = tonumber(f[6]),
    extensions = tonumber(f[7]), start = tonumber(f[8]), reserve = tonumber(f[9]),
    bid_id = f[10], bidder = f[11], amount = tonumber(f[12]), bids = tonumber(f[13]),
    sum = tonumber(f[14] or "0"), chain = f[15] or "",
    stream_bytes = tonumber(f[16] or "0"), stream_from = f[17],
    lines = {},
  }
end

-- increments: {{fromMinor, stepMinor}, ...}, sorted by fromMinor.
local function minimum_after(increments, amount)
  local step
  for i = 1, #increments do
    if increments[i][1] <= amount then step = increments[i][2] end
  end
  return amount + step
end

local function minimum_of(lot, increments)
  return lot.amount and minimum_after(increments, lot.amount) or math.max(1, lot.start)
end

-- Adds the next event of a lot. `rest` is the JSON after the fields that all events share.
local function event(lot, kind, rest)
  lot.seq = lot.seq + 1
  lot.lines[#lot.lines + 1] = string.format(
    '{"type":"%s","lotId":"%s","epoch":%.0f,"seq":%.0f,"atMs":%.0f%s}',
    kind, lot.id, lot.epoch, lot.seq, lot.at, rest)
end

local function open(lot, increments)
  lot.status, lot.moved = "open", true
  event(lot, "lot_opened", string.format(',"opensAtMs":%.0f,"closesAtMs":%.0f,"minimumMinor":%.0f',
    lot.opens, lot.closes, minimum_of(lot, increments)))
end

-- Closes a lot; its result is that of result() in lot/lifecycle.ts.
local function close(lot, increments)
  if lot.status == "scheduled" then open(lot, increments) end
  local outcome, winner = "no_bids", '"bidId":null,"bidderId":null,"amountMinor":null'
  if lot.amount and lot.reserve and lot.amount < lot.reserve then
    outcome = "reserve_not_met"
  elseif lot.amount then
    outcome = "sold"
    winner = string.format('"bidId":"%s","bidderId":%s,"amountMinor":%.0f',
      lot.bid_id, lot.bidder, lot.amount)
  end
  lot.status, lot.moved = "closed", true
  event(lot, "lot_closed", ',"outcome":"' .. outcome .. '",' .. winner)
end

-- Records the events of a lot: in its stream, the outbox and its hash; and when the lot is due next. The
-- traceparent of the call is a field of the outbox entry, beside the events.
local function append(lot, keys, traceparent)
  if #lot.lines == 0 then return end
  local text = table.concat(lot.lines, "\n")
  -- For the completeness proof: digest.ts computes the same chain from the archive's rows.
  local chain = lot.chain
  for i = 1, #lot.lines do chain = redis.sha1hex(chain .. lot.lines[i]) end
  local id = whole(lot.epoch) .. "-" .. whole(lot.seq)
  -- The stream keeps two halves: the one being filled, from streamFrom on, and the one before it.
  local from, bytes = lot.stream_from, lot.stream_bytes + #text
  if from and bytes > LOT_STREAM_BYTES / 2 then
    redis.call("XADD", keys.events, "MINID", from, id, "events", text)
    from, bytes = id, #text
  else
    redis.call("XADD", keys.events, id, "events", text)
    from = from or id
  end
  if traceparent and traceparent ~= "" then
    redis.call("XADD", keys.outbox, "*", "lotId", lot.id, "events", text, "traceparent", traceparent)
  else
    redis.call("XADD", keys.outbox, "*", "lotId", lot.id, "events", text)
  end
  redis.call("HINCRBY", keys.auction, "pendingBytes", #text)
  redis.call("HSET", lot.key, "status", lot.status, "seq", whole(lot.seq), "atMs", whole(lot.at),
    "extensions", lot.extensions, "bidCount", whole(lot.bids), "sumMinor", whole(lot.sum),
    "chain", chain, "streamFrom", from, "streamBytes", bytes)
  if lot.amount then
    redis.call("HSET", lot.key, "bidId", lot.bid_id, "bidder", lot.bidder,
      "amountMinor", whole(lot.amount))
  end
  if lot.moved then
    if lot.status == "open" then
      redis.call("HSET", lot.key, "closesAtMs", whole(lot.closes))
      redis.call("ZADD", keys.due, whole(lot.closes), lot.id)
      redis.call("SET", keys.closing, "1", "PXAT", whole(lot.closes))
    else
      redis.call("ZREM", keys.due, lot.id)
      redis.call("DEL", keys.closing)
    end
  end
end

-- The body of open-lots and close-lots: applies `change` to each given lot for which `is_due` holds, and
-- records it. KEYS and ARGV are those of the two scripts, and so is the reply.
local function change_due_lots(is_due, change)
  local clock = now_ms()
  local reply = {clock}
  if not is_confirmed(KEYS[1]) or not takes_events(KEYS[1]) then return reply end
  write_without_memory(KEYS[1])
  local increments = cjson.decode(redis.call("HGET", KEYS[1], "increments"))
  for i, lot_id in ipairs(ARGV) do
    local at = 1 + 3 * i
    local lot = read_lot(KEYS[at], lot_id)
    if lot and lot.opens and lot.closes and is_due(lot, clock) then
      lot.at = math.max(lot.at, clock)
      change(lot, increments)
      append(lot, {auction = KEYS[1], outbox = KEYS[2], due = KEYS[3],
        events = KEYS[at + 1], closing = KEYS[at + 2]})
      reply[#reply + 1] = lot_id
    end
  end
  return reply
end

