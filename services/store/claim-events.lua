--[[
claim-events: a process has shown events of a lot that this store lost. The events are kept for archival, which
restores them (archival/recovery/restore.ts). They change nothing here.

KEYS[1] auction  hash    ahead:<lotId>: the highest position claimed so far
KEYS[2] claims   stream  the claimed events
KEYS[3] cleaned  string  exists for a while after the auction was deleted: nothing can be claimed then
ARGV    lotId, epoch and seq of the last event, then the events of each entry, oldest first
Reply   1, or 0 where as much was claimed before, or the auction was deleted
--]]
local CLAIMS_MAX = 20000

if redis.call("EXISTS", KEYS[3]) == 1 then return 0 end

local field, epoch, seq = "ahead:" .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local claimed_epoch, claimed_seq = string.match(redis.call("HGET", KEYS[1], field) or "0-0", "(%d+)-(%d+)")
claimed_epoch, claimed_seq = tonumber(claimed_epoch), tonumber(claimed_seq)
local is_further = epoch > claimed_epoch or (epoch == claimed_epoch and seq > claimed_seq)
-- An equal claim may have come from a process that had the position without the events.
if not is_further and #ARGV == 3 then return 0 end
if is_further then redis.call("HSET", KEYS[1], field, whole(epoch) .. "-" .. whole(seq)) end
for i = 4, #ARGV do
  redis.call("XADD", KEYS[2], "MAXLEN", "~", CLAIMS_MAX, "*", "lotId", ARGV[1], "events", ARGV[i])
end
return 1
