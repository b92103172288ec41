--[[
restore-auction: the last step of a restore. All lots are written; this writes the auction and lets this server
decide.

KEYS[1] auction  KEYS[2] restoring  KEYS[3] outbox  KEYS[4] due  KEYS[5] claims, then the hash of each lot
ARGV    epoch
        floorId: the next outbox id is above it, whatever this server's clock is
        archivedId: the watermark of Postgres
        fields: of the auction's hash, JSON object of strings; {} keeps the present ones
        claimed: [[lotId, events], …], JSON: entries that were lost and are not archived; they are added
        to the outbox, since no other copy exists
        then the lotId of each lot
Reply   1, or 0 where a newer restore is under way, or the store was confirmed meanwhile
--]]
local floor_id, archived = ARGV[2], ARGV[3]
if redis.call("GET", KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call("HGET", KEYS[1], "confirmedServer") == run_id() then return 0 end

if redis.call("EXISTS", KEYS[3]) == 0 then
  if floor_id ~= "0-0" then redis.call("XADD", KEYS[3], "MAXLEN", 0, floor_id, "restored", "1") end
  redis.call("HSET", KEYS[1], "trimmedId", archived)
else
  -- Redis refuses an id below the last one: nothing has to be raised then.
  redis.pcall("XSETID", KEYS[3], floor_id)
end
for _, entry in ipairs(cjson.decode(ARGV[5])) do
  redis.call("XADD", KEYS[3], "*", "lotId", entry[1], "events", entry[2])
end
local pending, from = 0, "(" .. archived
while true do
  local entries = redis.call("XRANGE", KEYS[3], from, "+", "COUNT", 500)
  for _, entry in ipairs(entries) do pending = pending + #entry[2][4] end
  if #entries < 500 then break end
  from = "(" .. entries[500][1]
end

redis.call("DEL", KEYS[4])
for i = 6, #ARGV do
  local lot = redis.call("HMGET", KEYS[i], "status", "opensAtMs", "closesAtMs")
  local at = lot[1] == "scheduled" and tonumber(lot[2]) or lot[1] == "open" and tonumber(lot[3])
  if at then redis.call("ZADD", KEYS[4], whole(at), ARGV[i]) end
end

local fields = {}
for name, value in pairs(cjson.decode(ARGV[4])) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
for _, name in ipairs(redis.call("HKEYS", KEYS[1])) do
  if string.sub(name, 1, 6) == "ahead:" then redis.call("HDEL", KEYS[1], name) end
end
redis.call("HSET", KEYS[1], "epoch", ARGV[1], "archivedId", archived, "pendingBytes", whole(pending),
  "confirmedServer", run_id(), unpack(fields))
-- A fence holds. The last id of this outbox is the new end: later entries of the lost store are gone.
if redis.call("HEXISTS", KEYS[1], "fencedId") == 1 then
  redis.call("HSET", KEYS[1], "fencedId", last_id(KEYS[3]))
  redis.call("DEL", KEYS[4])
end
redis.call("DEL", KEYS[2], KEYS[5])
return 1
