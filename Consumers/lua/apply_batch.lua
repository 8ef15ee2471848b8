-- Applies one batch of readings and ticks to the history rings, and moves the offsets, all in one step.
--
-- KEYS  1 state hash   2 stream of closed hours   3 waiting ticks   4 set of meters
-- ARGV  1 readings, packed: building u4, meter u4, step f8, known_at f8, kWh f8 (little-endian)
--       2 partitions, JSON: [{number, start, end, clock}], offsets as strings, clock null without a tick
--       3 ticks, JSON: [[step, known_at]]   4 slots of a ring   5 shard   6 partitions of the topic   7 ring prefix
-- Returns "applied", "repeated" (this very batch is in already) or "fenced" (the offsets stand elsewhere,
-- or Redis was emptied).
local state, closed_hours, waiting, meters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local partitions = cjson.decode(ARGV[2])
local slots, prefix = tonumber(ARGV[4]), ARGV[7]
local SLOT_BYTES, RECORD_BYTES = 24, 32

-- A cache that was emptied and not filled yet has no past to add to, and its offsets mean nothing.
if redis.call('HEXISTS', state, 'filled') == 0 then
    return 'fenced'
end

-- An error would not undo what came before it, so everything that can be wrong is looked at first.
local as_expected, at_end = true, true
for _, partition in ipairs(partitions) do
    local stored = redis.call('HGET', state, 'offset:' .. partition.number) or 'none'
    as_expected = as_expected and stored == partition.start
    at_end = at_end and stored == partition['end']
end
if not as_expected then
    return at_end and 'repeated' or 'fenced'
end

local seen = {}
local readings = ARGV[1]
for position = 1, #readings, RECORD_BYTES do
    local building, meter, step, known_at, kwh = struct.unpack('<I4I4ddd', readings, position)
    local name = string.format('%d:%d', building, meter)
    local ring = prefix .. name
    local from = (step % slots) * SLOT_BYTES
    local old = redis.call('GETRANGE', ring, from, from + SLOT_BYTES - 1)
    local old_step, old_known_at, old_kwh = 0, 0, 0
    if #old == SLOT_BYTES then
        old_step, old_known_at, old_kwh = struct.unpack('<ddd', old)
    end
    if step > old_step or (step == old_step and (known_at > old_known_at
            or (known_at == old_known_at and kwh > old_kwh))) then
        redis.call('SETRANGE', ring, from, struct.pack('<ddd', step, known_at, kwh))
    end
    if not seen[name] then
        seen[name] = true
        redis.call('SADD', meters, name)
    end
end

for _, tick in ipairs(cjson.decode(ARGV[3])) do
    redis.call('ZADD', waiting, tick[1], string.format('%d:%.6f', tick[1], tick[2]))
end
for _, partition in ipairs(partitions) do
    redis.call('HSET', state, 'offset:' .. partition.number, partition['end'])
    local clock = tonumber(redis.call('HGET', state, 'clock:' .. partition.number) or '-1')
    if partition.clock ~= cjson.null and partition.clock > clock then
        redis.call('HSET', state, 'clock:' .. partition.number, string.format('%d', partition.clock))
    end
end

-- An hour closes when every partition has delivered its tick.
local clock
for number = 0, tonumber(ARGV[6]) - 1 do
    local own = tonumber(redis.call('HGET', state, 'clock:' .. number) or 'nan')
    if not own or own ~= own then
        return 'applied'
    end
    clock = math.min(clock or own, own)
end
local newest = tonumber(redis.call('HGET', state, 'closed') or '-1')
for _, tick in ipairs(redis.call('ZRANGEBYSCORE', waiting, '-inf', clock)) do
    local step, known_at = string.match(tick, '^(%d+):(.+)$')
    if tonumber(step) > newest then
        newest = tonumber(step)
        redis.call('XADD', closed_hours, step .. '-' .. ARGV[5], 'known_at', known_at)
        redis.call('HSET', state, 'closed', step)
    end
end
redis.call('ZREMRANGEBYSCORE', waiting, '-inf', clock)
return 'applied'
