-- Forget what one generation came to; the outcome of another stays. Version 1.
--
-- Changes with: finish.lua (the same keys), flight.py (their names), leases.py (which calls it).
--
-- KEYS[1]  the last outcome: a hash of its leader's token ('by') and its text ('text')
-- KEYS[2]  says that what a leader made is forgotten, to whoever tells of it late
-- ARGV[1]  token of that leader: its generation
-- ARGV[2]  milliseconds for which KEYS[2] says so
--
-- Repeated, it does the same.

redis.call('SET', KEYS[2], '', 'PX', ARGV[2])
if redis.call('HGET', KEYS[1], 'by') == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
