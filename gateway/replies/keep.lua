-- Keep a reply, unless its generation was dropped a moment ago. Version 1 (the 1 in every key).
--
-- Changes with: entry.py (the keys and what is written), drop.lua (the same keys), shared_cache.py (which calls this).
-- Runs on Redis and Valkey from 6.2 on.
--
-- KEYS[1]  the reply: text as entry.py writes it
-- KEYS[2]  there for a minute after the generation of ARGV[1] was dropped
-- ARGV[1]  the reply to keep
-- ARGV[2]  milliseconds for which it is kept
--
-- Returns  1 if it is kept, 0 if not. Repeated, it does the same.

if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
