--- Many orders at once.
-- @module crux.batch
local core = require "crux.core"
local Loop = require "crux.scheduler"
local Pending = require "crux.pending"

local error, next, pcall, rawget, type = error, next, pcall, rawget, type
local huge, format = math.huge, string.format

local batch = {}

local CONCURRENCY = 8

-- A table of the options, or nil and an error.
local function read(options)
  local known = {}
  for name, value in next, options do known[name] = value end
  local err = core.check_batch(known)
  if err then return nil, err end
  return known
end

-- The length of a list; an item that cannot be made a call of is found before any is sent.
local function length(items)
  local count = 0
  for _ in next, items do count = count + 1 end
  for index = 1, count do
    local item = rawget(items, index)
    if type(item) ~= "table" then
      error(format("cancel_orders: items[%d]: expected a table of arguments, found %s", index,
        item == nil and "nothing" or type(item)), 3)
    end
  end
  return count
end

-- A list keeps its report item by item; an iterator only counts, since nobody knows how much it yields.
local function new_report(items)
  local report = { counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 } }
  if type(items) == "table" then
    report.rejected, report.not_sent, report.unknown, report.not_started = {}, {}, {}, {}
  end
  return report
end

local function enter(report, kind, index, item, err)
  report.counts[kind] = report.counts[kind] + 1
  local list = report[kind]
  if list then list[#list + 1] = { index = index, item = item, err = err } end
end

--- Cancels many orders, a few at a time, and waits for all of them. An error raised by the iterator, `on_result` or
-- `on_progress` (or a Ctrl-C) is raised here, after what is in flight was given up.
-- @tparam crux.client client
-- @tparam table|function items a list of argument tables, or a function that yields them
-- @tparam[opt] table options
-- @tparam[opt=8] number options.concurrency how many are under way at once, from 1
-- @tparam[opt] function options.on_result (index, item, result, err), for each that was started
-- @tparam[opt] function options.on_progress (done, total or nil, counts)
-- @tparam[opt] table options.stop_on set of kinds after which no more is started; `{ auth = true }` if left out
-- @treturn[1] table report: `counts` by outcome and `not_started`; for a list also `rejected`, `unknown`, `not_sent` and
--   `not_started`, lists of `{ index, item, err }`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise on a closed client, or an item that is not a table
function batch.cancel_orders(client, items, options)
  client.handle:describe(true)
  if type(items) ~= "table" and type(items) ~= "function" then
    error("cancel_orders: expected a list of orders or an iterator function, found " .. type(items), 2)
  end
  if options ~= nil and type(options) ~= "table" then
    error("cancel_orders: expected a table of options, found " .. type(options), 2)
  end
  local known, refusal = read(options or {})
  if not known then return nil, refusal end
  options = known

  local concurrency = options.concurrency or CONCURRENCY
  local stop_on = options.stop_on or { auth = true }
  local total = type(items) == "table" and length(items) or nil
  local report = new_report(items)
  local loop = Loop.new(client.host.await)
  local started, done, stopped = 0, 0, false
  local flying, orders, in_flight = {}, {}, 0

  local function conclude(index, item, result, err)
    done = done + 1
    if result then report.counts.accepted = report.counts.accepted + 1
    else enter(report, err.outcome, index, item, err) end
    if err and rawget(stop_on, err.kind) then stopped = true end
    if options.on_result then options.on_result(index, item, result, err) end
    if options.on_progress then options.on_progress(done, total, report.counts) end
  end

  local function next_item()
    if stopped or loop.closed or (total and started == total) then return nil end
    local item
    if total then item = rawget(items, started + 1) else item = items() end
    if item == nil then stopped = true
    elseif loop.closed then -- by the iterator
      report.counts.not_started = report.counts.not_started + 1
      return nil
    else started = started + 1 end
    return item
  end

  local function start()
    while in_flight < concurrency do
      local item = next_item()
      if item == nil then return end
      local index = started
      local call, err = client:prepare("cancel_order", item)
      if call then
        local pending = Pending.new(loop, client, call)
        flying[pending], orders[pending] = index, item
        in_flight = in_flight + 1
      else conclude(index, item, nil, err) end
    end
  end

  local function land(pending)
    local index, item = flying[pending], orders[pending]
    flying[pending], orders[pending] = nil, nil
    in_flight = in_flight - 1
    local _, result, err = pending:poll()
    conclude(index, item, result, err)
  end

  local function run()
    start()
    while in_flight > 0 do
      local pending
      if not loop.closed then pending = loop:step() end
      -- `on_result` or `on_event` may close the client, and with it this loop; then all are done
      if loop.closed then pending = pending or next(flying) end
      if pending then
        land(pending)
        start()
      else loop:wait(huge) end
    end
  end

  client.loops[loop] = true
  local ok, why = pcall(run)
  client.loops[loop] = nil
  loop:close()
  if not ok then error(why, 0) end

  for index = started + 1, total or 0 do enter(report, "not_started", index, rawget(items, index)) end
  return report
end

return batch
