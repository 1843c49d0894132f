-- Charge one call against the limits of a tenant, its key and its token: all of them or none. Version 1 (the 1 in every key).
--
-- Changes with: policy.py (the same arithmetic, and the names of the keys), shared.py (which calls it).
-- Runs on Redis and Valkey from 6.2 on. Time is the server's, in microseconds, so the processes' clocks do not matter.
--
-- KEYS[1]    record of the call: what was answered when it was allowed. Repeated within a minute, the call is answered
--            the same and charges nothing.
-- KEYS[i+1]  the state of limit i. All keys share one hash tag.
--            rate: the theoretical arrival time, microseconds since 1970.
--            entry: a sorted set of ids in progress, scored by the end of their lease, microseconds since 1970.
-- ARGV[1]    id of the generation, for entries
-- ARGV[2]    milliseconds for which the record is kept
-- ARGV[3]    microseconds for which a lease lasts
-- then five for each limit:
--   rate:   'r', interval in microseconds, depth in microseconds (burst * interval), cost, floor in microseconds
--   entry:  'e', limit, 0, 0, 0
--   in capitals, 'R' or 'E', the limit is enforced; else it only counts (shadow mode).
--   The floor is the least level that the asking process knows of. A level is raised to it, so that a Redis that lost
--   its data, or was gone while processes admitted on their own, does not hand out another full burst.
--
-- Returns    {allowed 0|1, then for each limit: exceeded 0|1, level after the call}
--            rate: level in microseconds; entry: ids in progress.

local LIMIT_ARGS, FIRST = 5, 4

-- Keep a rate's level until it is 0 again, when there is nothing left to know.
local function keep(key, now, level)
  redis.call('SET', key, string.format('%.0f', now + level), 'PX', math.max(1, math.ceil(level / 1000)))
end

local recorded = redis.call('GET', KEYS[1])
if recorded then
  return cmsgpack.unpack(recorded)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limits, allowed = {}, true

for i = 1, #KEYS - 1 do
  local at = FIRST + (i - 1) * LIMIT_ARGS
  local kind = ARGV[at]
  local limit = { key = KEYS[i + 1], entry = kind == 'E' or kind == 'e' }
  if limit.entry then
    redis.call('ZREMRANGEBYSCORE', limit.key, '-inf', now)
    limit.level = redis.call('ZCARD', limit.key)
    limit.after = limit.level + 1
    limit.exceeded = limit.after > tonumber(ARGV[at + 1])
  else
    local interval, depth = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local cost, floor = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    local found = math.max(tonumber(redis.call('GET', limit.key) or now) - now, 0)
    -- Cut to the depth: neither a lowered limit nor a clock set back may lock anyone out for longer than the burst.
    limit.level = math.min(math.max(found, floor), depth)
    if limit.level ~= found then
      keep(limit.key, now, limit.level)
    end
    limit.after = limit.level + cost * interval
    limit.exceeded = limit.after > depth
  end
  if limit.exceeded and (kind == 'R' or kind == 'E') then
    allowed = false
  end
  limits[i] = limit
end

local answer = { allowed and 1 or 0 }
for _, limit in ipairs(limits) do
  if allowed and not limit.exceeded then
    if limit.entry then
      redis.call('ZADD', limit.key, string.format('%.0f', now + ARGV[3]), ARGV[1])
      redis.call('PEXPIRE', limit.key, math.ceil(ARGV[3] / 1000))
    else
      keep(limit.key, now, limit.after)
    end
    limit.level = limit.after
  end
  answer[#answer + 1] = limit.exceeded and 1 or 0
  answer[#answer + 1] = limit.level
end

if allowed then
  redis.call('SET', KEYS[1], cmsgpack.pack(answer), 'PX', ARGV[2])
end
return answer
