--[[
claim-events: a process has shown events of a lot that this store lost. The events are kept for archival, which
restores them (archival/recovery/restore.ts). They change nothing here. Every process claims what it has shown, again
and again until it is restored: an entry that was claimed before is not kept again.

KEYS[1] auction  hash    ahead:<lotId>: the highest position claimed so far
KEYS[2] claims   hash    <lotId>:<SHA-1 of the events>: the claimed events; "bytes": their size
KEYS[3] cleaned  string  exists for a while after the auction was deleted: nothing can be claimed then
ARGV    lotId, epoch and seq of the last event, then the events of each entry, oldest first
Reply   1, or 0 where as much was claimed before, or the auction was deleted
--]]
-- A process keeps fewer bytes of events than this. Beyond the limit the newest are left out: restored events must
-- follow the known ones without a gap.
local CLAIMS_MAX_BYTES = 16 * 1024 * 1024

if redis.call("EXISTS", KEYS[3]) == 1 then return 0 end

local field, epoch, seq = "ahead:" .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local claimed_epoch, claimed_seq = string.match(redis.call("HGET", KEYS[1], field) or "0-0", "(%d+)-(%d+)")
claimed_epoch, claimed_seq = tonumber(claimed_epoch), tonumber(claimed_seq)
local is_further = epoch > claimed_epoch or (epoch == claimed_epoch and seq > claimed_seq)
if is_further then redis.call("HSET", KEYS[1], field, whole(epoch) .. "-" .. whole(seq)) end
-- Another process may have claimed the same position without the events.
local is_new = false
local bytes = tonumber(redis.call("HGET", KEYS[2], "bytes") or "0")
for i = 4, #ARGV do
  if bytes + #ARGV[i] > CLAIMS_MAX_BYTES then break end
  if redis.call("HSETNX", KEYS[2], ARGV[1] .. ":" .. redis.sha1hex(ARGV[i]), ARGV[i]) == 1 then
    bytes = redis.call("HINCRBY", KEYS[2], "bytes", #ARGV[i])
    is_new = true
  end
end
return (is_further or is_new) and 1 or 0
