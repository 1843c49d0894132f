-- Keep a reply, unless what was in its place was dropped a moment ago. Version 1 (the 1 in every key).
--
-- Changes with: entry.py (the key and what is written), shared_cache.py (which calls this, and drops).
-- Runs on Redis and Valkey from 6.2 on.
--
-- KEYS[1]  the reply: text as entry.py writes it; empty for a minute where one was dropped
-- ARGV[1]  the reply to keep
-- ARGV[2]  milliseconds for which it is kept
--
-- Returns  1 if it is kept, 0 if not. Repeated, it does the same.

if redis.call('GET', KEYS[1]) == '' then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
