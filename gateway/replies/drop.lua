-- Forget the reply of one generation; that of another, which answered the same ask later, stays. Version 1.
--
-- Changes with: entry.py (the keys and what is written), keep.lua (the same keys), shared_cache.py (which calls this).
--
-- KEYS[1]  the reply: a line of figures, whose last word is its generation, then the text
-- KEYS[2]  says that this generation was dropped, to whoever would keep its reply late
-- ARGV[1]  the generation
-- ARGV[2]  milliseconds for which KEYS[2] says so
--
-- Repeated, it does the same.

redis.call('SET', KEYS[2], '', 'PX', ARGV[2])
local reply = redis.call('GET', KEYS[1])
if reply and string.match(reply, '^%d+ %d+ ([^\n]*)\n') == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
