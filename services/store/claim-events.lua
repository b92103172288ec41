--[[
claim-events: a process has events of a lot that this store lost. They are kept for archival, which puts
them back (archival/restore.ts). Nothing is decided by them here.

KEYS[1] auction  hash    ahead:<lotId>: the furthest claim so far
KEYS[2] claims   stream  what is claimed
KEYS[3] cleaned  string  there for a while after an auction was removed: nothing is claimed any more
ARGV    lotId, epoch, seq of the last of the events, then the events of each entry, oldest first
Reply   1, or 0 where as much was claimed before, or the auction was removed
--]]
local CLAIMS_MAX = 20000

if redis.call("EXISTS", KEYS[3]) == 1 then return 0 end

local field, epoch, seq = "ahead:" .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local claimed_epoch, claimed_seq = string.match(redis.call("HGET", KEYS[1], field) or "0-0", "(%d+)-(%d+)")
claimed_epoch, claimed_seq = tonumber(claimed_epoch), tonumber(claimed_seq)
local further = epoch > claimed_epoch or (epoch == claimed_epoch and seq > claimed_seq)
-- As much may have been claimed by a process that has no events to show for it.
if not further and #ARGV == 3 then return 0 end
if further then redis.call("HSET", KEYS[1], field, whole(epoch) .. "-" .. whole(seq)) end
for i = 4, #ARGV do
  redis.call("XADD", KEYS[2], "MAXLEN", "~", CLAIMS_MAX, "*", "lotId", ARGV[1], "events", ARGV[i])
end
return 1
