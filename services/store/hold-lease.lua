--[[
hold-lease: acquire, renew or release a lease.

KEYS[1] lease  string  its holder; expires unless renewed
ARGV    holder, ttlMs ("0" releases it)
Reply   {1 or 0: whether the caller holds it, nowMs}
--]]
local clock = now_ms()
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return {0, clock} end
if ARGV[2] == "0" then
  redis.call("DEL", KEYS[1])
  return {0, clock}
end
-- The relay needs this lease to trim: without the DEL, Redis refuses SET while it is out of memory.
redis.call("DEL", KEYS[1])
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return {1, clock}
