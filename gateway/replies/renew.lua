-- Renew the lease of a leader. Version 1.
--
-- Changes with: lead.lua (the same key), leases.py (which calls it).
--
-- KEYS[1]  the lease: the token of the leader, or 'free'
-- ARGV[1]  token of the leader
-- ARGV[2]  milliseconds for which a lease lasts
--
-- Returns  1 if the leader has the lease. One that was lost (FLUSHALL, failover), or never made because Redis was away,
--          is put back; one that somebody else has by now is left alone.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
