-- Lead a flight, or learn who does, or how it ended. Version 1 (the 1 in every key).
--
-- Changes with: finish.lua and renew.lua (the same keys), flight.py (their names), leases.py (which calls it).
-- Runs on Redis and Valkey from 6.2 on. Times are the server's.
--
-- KEYS[1]  the lease: the token of the leader, or 'free' when a leader passed the lead on
-- KEYS[2]  the last outcome: a hash of its leader's token ('by') and its text ('text')
-- ARGV[1]  token of the asker
-- ARGV[2]  milliseconds for which a lease lasts
-- ARGV[3]  milliseconds for which an outcome is kept
-- ARGV[4]  milliseconds: an older outcome is not the asker's
-- ARGV[5]  '1' if the asker knows of a leader whose lease has not run out: a lease that is missing was then lost
--          (FLUSHALL, failover), and its leader will put it back
--
-- Returns  {'lead'}            the asker leads; so it does, asked again
--          {'ended', age, text}  the outcome, and its age in milliseconds
--          {'follow', left}    another leads, and its lease lasts so many milliseconds; 0 when it was lost

local holder = redis.call('GET', KEYS[1])

if holder ~= ARGV[1] then
  local left = redis.call('PTTL', KEYS[2])
  if left > 0 then
    local age = math.max(0, ARGV[3] - left)
    if age <= tonumber(ARGV[4]) then
      return { 'ended', age, redis.call('HGET', KEYS[2], 'text') }
    end
  end
  if holder and holder ~= 'free' then
    return { 'follow', math.max(0, redis.call('PTTL', KEYS[1])) }
  end
  if not holder and ARGV[5] == '1' then
    return { 'follow', 0 }
  end
end

redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 'lead' }
