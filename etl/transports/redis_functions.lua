#!lua name=etl_2

-- A partition is a stream and its state. An entry of the stream holds the messages of one batch that follow each other, and
-- bears the offset of its last: <offset>-1. All keys of a partition have one hash tag.
--
--   KEYS[1]  the stream
--   KEYS[2]  its state, a hash: next (offset), low (offset), time_ms (the greatest so far), group:<name> for every group
--   KEYS[3]  what the call is about: a producer's last sequence, an index of keys, a group's place

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function add(keys, count, time_ms, epoch, batch)
  local state = redis.call('HMGET', keys[2], 'next', 'time_ms')
  local first = tonumber(state[1] or '0')
  local latest = math.max(tonumber(state[2] or '0'), tonumber(time_ms))
  local last = first + tonumber(count) - 1
  local time = string.format('%d', latest)
  redis.call('XADD', keys[1], string.format('%d-1', last), 'n', count, 't', time, 'e', epoch, 'b', batch)
  redis.call('HSET', keys[2], 'next', string.format('%d', last + 1), 'time_ms', time)
  return last
end

-- KEYS[3]: the producer's last sequence. ARGV: first sequence, count, time, epoch, batch, how long the producer is
-- remembered.
-- A batch that is there already is not added again; one that comes before its turn is refused.
local function append(keys, args)
  local first, count = tonumber(args[1]), tonumber(args[2])
  local last = tonumber(redis.call('GET', keys[3]) or '-1')
  if first + count - 1 <= last then return -1 end
  if first ~= last + 1 then return redis.error_reply('OUTOFORDER ' .. last) end
  local offset = add(keys, args[2], args[3], args[4], args[5])
  redis.call('SET', keys[3], string.format('%d', first + count - 1), 'EX', args[6])
  return offset
end

-- A key of a compacted topic has its newest message alone. index: the offset of each key.
local function replace(stream, index, key, offset)
  local before = redis.call('HGET', index, key)
  if before then redis.call('XDEL', stream, before .. '-1') end
  redis.call('HSET', index, key, string.format('%d', offset))
end

-- The same of one message of a compacted topic. KEYS[4]: the offset of each key. ARGV[7]: the key.
local function put(keys, args)
  local offset = append(keys, args)
  if type(offset) == 'table' or offset < 0 then return offset end
  replace(keys[1], keys[4], args[7], offset)
  return offset
end

-- What another transport has, under the offsets that it has there. KEYS[3], of a compacted topic: the offset of each key.
-- ARGV: first offset, count, time, epoch, batch, and of a compacted topic the key. What is there already is not placed
-- again. Where offsets are left out the source begins only there: so does the partition then, unless it is compacted.
local function place(keys, args)
  local first, count = tonumber(args[1]), tonumber(args[2])
  local next = tonumber(redis.call('HGET', keys[2], 'next') or '-1')
  if first + count <= next then return -1 end
  if first < next then return redis.error_reply('OUTOFORDER ' .. next) end
  if first > next then
    if not keys[3] or next < 0 then
      redis.call('DEL', keys[1])
      redis.call('HSET', keys[2], 'low', string.format('%d', first))
    end
    redis.call('HSET', keys[2], 'next', string.format('%d', first))
  end
  local offset = add(keys, args[2], args[3], args[4], args[5])
  if keys[3] then replace(keys[1], keys[3], args[6], offset) end
  return offset
end

-- KEYS[3]: the group's place, a hash: offset, metadata, owner, until, token. ARGV: group, member, for how long.
-- Its token where the partition is the member's, else nothing.
local function lease(keys, args)
  local held = redis.call('HMGET', keys[3], 'owner', 'until', 'token')
  local owner, ends, token = held[1] or '', tonumber(held[2] or '0'), tonumber(held[3] or '0')
  local now = now_ms()
  if owner ~= args[2] then
    if owner ~= '' and ends > now then return false end
    token = token + 1
  end
  local until_ms = string.format('%d', now + tonumber(args[3]))
  redis.call('HSET', keys[3], 'owner', args[2], 'until', until_ms, 'token', token)
  redis.call('HSETNX', keys[2], 'group:' .. args[1], 1)
  return token
end

-- ARGV: group, member
local function release(keys, args)
  if redis.call('HGET', keys[3], 'owner') == args[2] then redis.call('HSET', keys[3], 'owner', '') end
  return 1
end

-- ARGV: group, token (0 = of nobody, while nobody has the partition), offset, metadata. A group that were ahead of the
-- topic would let go of what nobody has read yet.
local function commit(keys, args)
  local next = tonumber(redis.call('HGET', keys[2], 'next') or '0')
  if tonumber(args[3]) > next then return redis.error_reply('AHEAD ' .. next) end
  local held = redis.call('HMGET', keys[3], 'owner', 'until', 'token')
  local owner, ends, token = held[1] or '', tonumber(held[2] or '0'), tonumber(held[3] or '0')
  local asked = tonumber(args[2])
  if asked == 0 then
    if owner ~= '' and ends > now_ms() then return redis.error_reply('FENCED ' .. owner) end
  elseif asked ~= token or owner == '' then
    return redis.error_reply('FENCED ' .. owner)
  end
  redis.call('HSET', keys[3], 'offset', args[3], 'metadata', args[4])
  redis.call('HSETNX', keys[2], 'group:' .. args[1], 1)
  return 1
end

-- ARGV: group prefix, time, entries at most. Batches are let go of whose every message is older, and which every group has
-- read. How many entries went.
local function trim(keys, args)
  local state = redis.call('HGETALL', keys[2])
  local bound
  for at = 1, #state, 2 do
    local name = string.match(state[at], '^group:(.*)$')
    if name then
      local offset = tonumber(redis.call('HGET', args[1] .. name, 'offset') or '0')
      bound = math.min(bound or offset, offset)
    end
  end
  local gone = 0
  for _, entry in ipairs(redis.call('XRANGE', keys[1], '-', '+', 'COUNT', args[3])) do
    local last = tonumber(string.match(entry[1], '^%d+'))
    if tonumber(entry[2][4]) >= tonumber(args[2]) or (bound and last >= bound) then break end
    redis.call('XDEL', keys[1], entry[1])
    redis.call('HSET', keys[2], 'low', string.format('%d', last + 1))
    gone = gone + 1
  end
  return gone
end

-- a server that is full must be readable to its end: but for what adds messages, all are let in
redis.register_function('etl_2_append', append)
redis.register_function('etl_2_put', put)
redis.register_function('etl_2_place', place)
redis.register_function{function_name = 'etl_2_lease', callback = lease, flags = {'allow-oom'}}
redis.register_function{function_name = 'etl_2_release', callback = release, flags = {'allow-oom'}}
redis.register_function{function_name = 'etl_2_commit', callback = commit, flags = {'allow-oom'}}
redis.register_function{function_name = 'etl_2_trim', callback = trim, flags = {'allow-oom'}}
