--- The Redis scripts of a fleet: the only place where the state of an order changes.
--
-- A record is queued → sending → accepted, rejected, not_sent or unknown. *Only a queued one is
-- sent*: a lease that ran out is no leave to send again. Each script is atomic, touches only its
-- KEYS (records, stream, counts, next fence; or the shared limit), and changes nothing when it is
-- repeated because its reply was lost. Times are milliseconds of Redis' own clock.
-- @module crux.fleet.scripts

-- What most of them share.
local COMMON = [[
local records, stream, counts, fences = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function get(order) -- nil: there is none, or it is not readable
  local text = redis.call('HGET', records, order)
  local ok, record = pcall(cjson.decode, text or '')
  if ok and type(record) == 'table' and record.state then return record end
end
local function put(order, record, state)
  local before = record.state
  record.state = state
  redis.call('HSET', records, order, cjson.encode(record))
  if before ~= state then
    if before then redis.call('HINCRBY', counts, before, -1) end
    redis.call('HINCRBY', counts, state, 1)
  end
end
local function add(order) return redis.call('XADD', stream, '*', 'order', order) end
local function remove(entry)
  if not entry then return end
  redis.pcall('XACK', stream, 'workers', entry)
  redis.call('XDEL', stream, entry)
end
]]

local scripts = {}

--- enqueue(order, arguments, enqueue id) → 1 added, or 0: it has a record.
scripts.enqueue = COMMON .. [[
local order, arguments, id = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HEXISTS', records, order) == 1 then
  local record = get(order)
  return record and record.by == id and 1 or 0 -- 1: the reply was lost
end
put(order, { arguments = arguments, by = id, fence = 0, tries = 0, entry = add(order) }, 'queued')
return 1
]]

--- claim(entry, order, claim id, lease) → "go", fence, arguments; or "unknown", or "removed".
scripts.claim = COMMON .. [[
local entry, order, id, lease = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if order == '' then -- the entry names no order
  put('entry ' .. entry, { kind = 'unreadable', message = 'the entry named no order' }, 'not_sent')
  remove(entry)
  return { 'removed' }
end
local record = get(order)
if not record then -- purged, evicted or overwritten: nobody knows whether it was sent
  put(order, { fence = redis.call('INCR', fences), at = now(), lease = lease,
    kind = 'unreadable', message = 'the record was missing or not readable' }, 'unknown')
  remove(entry)
  return { 'unknown' }
end
if record.entry ~= entry then
  remove(entry)
  return { 'removed' }
end
if record.state == 'queued' then
  record.fence, record.claim = redis.call('INCR', fences), id
  record.at, record.lease = now(), lease
  put(order, record, 'sending')
elseif record.state == 'sending' and record.claim ~= id then
  put(order, record, 'unknown')
  remove(entry)
  return { 'unknown' }
elseif record.state ~= 'sending' then
  remove(entry)
  return { 'removed' }
end
return { 'go', record.fence, record.arguments }
]]

--- finish(order, fence, outcome, detail, most tries, entry) → "done" or "stale". Also the outcomes
-- "queue", which queues the order again and counts a try, and "return", which does not count. A
-- claim whose lease ran out may still tell a better outcome than unknown. Of a record that is
-- missing the outcome is kept as long as the entry is there, which nobody else has claimed then.
scripts.finish = COMMON .. [[
local order, fence, outcome = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local record = get(order)
local is_again = outcome == 'queue' or outcome == 'return'
if not record and redis.call('XDEL', stream, ARGV[6]) == 1 then
  redis.call('XACK', stream, 'workers', ARGV[6])
  record = cjson.decode(ARGV[4])
  record.fence = fence
  put(order, record, is_again and 'not_sent' or outcome)
  return 'done'
end
if not record or record.fence ~= fence then return 'stale' end
if record.state ~= 'sending' and record.state ~= 'unknown' then return 'done' end -- a lost reply
local entry = record.entry
if record.state == 'unknown' and (outcome == 'unknown' or is_again and record.looked) then
  return 'done'
end
for _, name in ipairs{ 'status', 'kind', 'message', 'hint' } do record[name] = nil end
for name, value in pairs(cjson.decode(ARGV[4])) do record[name] = value end
if record.looked then redis.call('HINCRBY', counts, 'looked ' .. record.looked, -1) end
record.looked, record.entry = nil, nil
if outcome == 'queue' then record.tries = (record.tries or 0) + 1 end
if is_again and (record.tries or 0) < tonumber(ARGV[5]) then
  record.entry = add(order)
  put(order, record, 'queued')
else put(order, record, is_again and 'not_sent' or outcome) end
remove(entry)
return 'done'
]]

--- resolve(order, what was seen) → "done", "early", or "known": there is nothing to look for. With
-- an empty `seen` it only tells whether the order may be looked at. A claim whose lease ran out,
-- and whose entry no worker took, becomes unknown here.
scripts.resolve = COMMON .. [[
local order, seen = ARGV[1], ARGV[2]
local record = get(order)
if not record or record.state ~= 'unknown' and record.state ~= 'sending' then return 'known' end
if (record.at or 0) + (record.lease or 0) > now() then return 'early' end
if record.state == 'sending' then
  local entry = record.entry
  put(order, record, 'unknown')
  remove(entry)
end
if seen == '' or record.looked == seen then return 'done' end
if record.looked then redis.call('HINCRBY', counts, 'looked ' .. record.looked, -1) end
record.looked = seen
put(order, record, 'unknown')
redis.call('HINCRBY', counts, 'looked ' .. seen, 1)
return 'done'
]]

--- leave(worker) → 1: the worker's name is removed, or 0: entries are pending under it, which would
-- be lost with the name.
scripts.leave = COMMON .. [[
if redis.call('XPENDING', stream, 'workers', '-', '+', 1, ARGV[1])[1] then return 0 end
redis.call('XGROUP', 'DELCONSUMER', stream, 'workers', ARGV[1])
return 1
]]

--- permit(worker, permit id, wanted, rate, burst, pause) → granted, milliseconds until more. GCRA,
-- in microseconds: `next` is when the bucket would be full again. `pause`: nobody gets any for so
-- many milliseconds.
scripts.permit = [[
local limit, worker, id, wanted = KEYS[1], 'worker ' .. ARGV[1], ARGV[2], tonumber(ARGV[3])
local rate, burst, pause = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local last = redis.call('HGET', limit, worker) or ''
local of, given, wait = string.match(last, '^(%S+) (%d+) (%d+)$')
if of == id then return { tonumber(given), tonumber(wait) } end -- a lost reply
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local paused = tonumber(redis.call('HGET', limit, 'paused') or 0)
if now + pause * 1000 > paused and pause > 0 then
  paused = now + pause * 1000
  redis.call('HSET', limit, 'paused', string.format('%.0f', paused))
end
local granted, wait = 0, 0
if paused > now then wait = math.ceil((paused - now) / 1000)
elseif rate == 0 then granted = wanted
else
  local interval = 1000000 / rate
  local full = math.max(tonumber(redis.call('HGET', limit, 'next') or 0), now)
  while granted < wanted and full - now <= (burst - 1) * interval do
    granted, full = granted + 1, full + interval
  end
  if granted < wanted then wait = math.ceil((full - (burst - 1) * interval - now) / 1000) end
  if granted > 0 then redis.call('HSET', limit, 'next', string.format('%.0f', full)) end
end
if pause > 0 or rate > 0 and granted > 0 then
  redis.call('HSET', limit, worker, string.format('%s %d %d', id, granted, wait))
end
return { granted, wait }
]]

return scripts
