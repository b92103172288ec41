--[[
restore-lot: write one lot under a higher epoch. Nobody can bid on it meanwhile: its auction does not exist, or
this server is not confirmed.

KEYS[1] auction    hash
KEYS[2] restoring  string  the epoch of the restore under way: an older one is refused from now on
KEYS[3] lot        hash    fields that ARGV does not name are kept
KEYS[4] events     stream  kept where no entries are given
KEYS[5] closing    string
ARGV    epoch, fields: JSON object of strings, then for each entry of the lot's stream: id, events
Reply   1, or 0 where a newer restore is under way, or the store was confirmed meanwhile
--]]
local epoch = tonumber(ARGV[1])
if epoch < tonumber(redis.call("GET", KEYS[2]) or "0") then return 0 end
if redis.call("HGET", KEYS[1], "confirmedServer") == run_id() then return 0 end
redis.call("SET", KEYS[2], ARGV[1])

local fields = {}
for name, value in pairs(cjson.decode(ARGV[2])) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call("HSET", KEYS[3], "epoch", ARGV[1], unpack(fields))
-- Entries written here are not counted in either half: they are dropped when the first half is full.
redis.call("HDEL", KEYS[3], "streamFrom", "streamBytes")
if #ARGV > 2 then redis.call("DEL", KEYS[4]) end
for i = 3, #ARGV, 2 do redis.call("XADD", KEYS[4], ARGV[i], "events", ARGV[i + 1]) end
local lot = redis.call("HMGET", KEYS[3], "status", "closesAtMs")
if lot[1] == "open" then redis.call("SET", KEYS[5], "1", "PXAT", lot[2])
else redis.call("DEL", KEYS[5]) end
return 1
