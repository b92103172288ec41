--[[
trim-outbox: move the watermark to what Postgres has committed, and drop entries below minId. The watermark may
move back when Postgres was restored from a backup: more bytes are pending then.

KEYS[1] auction  hash    archivedId, trimmedId, pendingBytes
KEYS[2] outbox   stream
ARGV    archivedId, minId: the oldest entry to keep, never above archivedId
Reply   {pendingBytes, entries dropped}; {0, 0} where there is no auction
--]]
if redis.call("HEXISTS", KEYS[1], "uid") == 0 then return {0, 0} end
local archived, was = ARGV[1], redis.call("HGET", KEYS[1], "archivedId") or "0-0"

-- Sums the bytes of the entries after one id, up to another one; 0 where the first is not below the second.
local function bytes_between(after, up_to)
  local sum, from = 0, "(" .. after
  while true do
    local entries = redis.call("XRANGE", KEYS[2], from, up_to, "COUNT", 500)
    for _, entry in ipairs(entries) do sum = sum + #entry[2][4] end
    if #entries < 500 then return sum end
    from = "(" .. entries[500][1]
  end
end

local pending = tonumber(redis.call("HGET", KEYS[1], "pendingBytes") or "0")
if archived ~= was then pending = pending - bytes_between(was, archived) + bytes_between(archived, was) end
-- Trimming is the first write: Redis accepts it while it is out of memory, and then the other writes, too.
local dropped = redis.call("XTRIM", KEYS[2], "MINID", ARGV[2])
if archived ~= was then
  redis.call("HSET", KEYS[1], "archivedId", archived, "pendingBytes", whole(math.max(0, pending)))
end
if dropped > 0 then redis.call("HSET", KEYS[1], "trimmedId", ARGV[2]) end
return {pending, dropped}
