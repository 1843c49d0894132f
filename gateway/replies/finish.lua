-- End a lead: leave its outcome for the followers, or pass the lead on. Version 1.
--
-- Changes with: lead.lua and forget.lua (the same keys), leases.py (which calls it), shared_flight.py (which listens to
-- the channel).
--
-- KEYS[1]  the lease: the token of the leader, or 'free'
-- KEYS[2]  the last outcome: a hash of its leader's token ('by') and its text ('text')
-- KEYS[3]  there for a while after what the leader made was forgotten: then nobody is told of it, and the lead is passed
--          on
-- ARGV[1]  token of the leader
-- ARGV[2]  milliseconds for which a lease lasts
-- ARGV[3]  milliseconds for which an outcome is kept
-- ARGV[4]  channel on which the lease's name is published to those who wait
-- ARGV[5]  the outcome; absent if the lead is passed on. An outcome counts also when the lease has gone to somebody
--          else: it was paid for.
--
-- Returns  1 if there was something to tell, 0 if not. Repeated, it changes nothing.

local leads = redis.call('GET', KEYS[1]) == ARGV[1]
local news = leads

if ARGV[5] and redis.call('EXISTS', KEYS[3]) == 0 then
  if redis.call('HGET', KEYS[2], 'by') ~= ARGV[1] then
    redis.call('HSET', KEYS[2], 'by', ARGV[1], 'text', ARGV[5])
    redis.call('PEXPIRE', KEYS[2], ARGV[3])
    news = true
  end
  if leads then
    redis.call('DEL', KEYS[1])
  end
elseif leads then
  redis.call('SET', KEYS[1], 'free', 'PX', ARGV[2])
end

if news then
  redis.call('PUBLISH', ARGV[4], KEYS[1])
  return 1
end
return 0
