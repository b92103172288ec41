--[[
confirm-server: let this server decide, after archival has compared its data with what was relayed.

KEYS[1] auction    hash
KEYS[2] restoring  string  exists while a restore is under way: no server is confirmed then
ARGV    the run_id of the server that was compared
Reply   1, or 0 where this is another server, a restore is under way, or there is no auction
--]]
if run_id() ~= ARGV[1] or redis.call("EXISTS", KEYS[2]) == 1
  or redis.call("HEXISTS", KEYS[1], "uid") == 0 then
  return 0
end
write_without_memory(KEYS[1])
redis.call("HSET", KEYS[1], "confirmedServer", ARGV[1])
return 1
