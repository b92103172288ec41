--[[
confirm-server: let this server decide, after what it has was compared with what was relayed.

KEYS[1] auction    hash
KEYS[2] restoring  string  there while a restore is under way: nothing is confirmed then
ARGV    server: the one that was compared, as server_name() gives it
Reply   1, or 0 where this is another one by now, or a restore is under way, or there is no auction
--]]
if server_name() ~= ARGV[1] or redis.call("EXISTS", KEYS[2]) == 1
  or redis.call("HEXISTS", KEYS[1], "uid") == 0 then
  return 0
end
redis.call("HSET", KEYS[1], "confirmedServer", ARGV[1])
return 1
