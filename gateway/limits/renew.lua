-- Renew the leases of the generations of one process that count against one limit, and free the places of others.
--
-- Changes with: take.lua (the same sorted set and lease), shared.py (which calls it). Version 1.
--
-- KEYS[1]  sorted set of ids in progress, scored by the end of their lease, microseconds since 1970
-- ARGV[1]  microseconds for which a lease lasts
-- ARGV[2]  how many ids follow that are still in progress; those after them are not
-- ARGV[3…] the ids
--
-- Returns  how many ids the set holds now. An id that was lost (FLUSHALL, failover) is put back.

local time = redis.call('TIME')
local lease_end = string.format('%.0f', time[1] * 1000000 + time[2] + ARGV[1])
local renewed = tonumber(ARGV[2])

for i = 3, #ARGV do
  if i - 2 <= renewed then
    redis.call('ZADD', KEYS[1], lease_end, ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
if renewed > 0 then
  redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[1] / 1000))
end
return redis.call('ZCARD', KEYS[1])
