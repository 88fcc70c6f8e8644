--- Many orders at once.
-- @module crux.batch
local Loop = require "crux.loop"
local Pending = require "crux.pending"

local batch = {}

local CONCURRENCY = 8

local OPTIONS = {
  concurrency = "number", on_result = "function", on_progress = "function", stop_on = "table",
}

local function check(items, options)
  if type(items) ~= "table" and type(items) ~= "function" then
    error("cancel_orders: expected a list of orders or an iterator function, found " .. type(items), 3)
  end
  for name, value in next, options do
    if not OPTIONS[name] then error(("cancel_orders: unknown option '%s'"):format(tostring(name)), 3) end
    if type(value) ~= OPTIONS[name] then
      error(("cancel_orders: %s: expected a %s, found a %s"):format(name, OPTIONS[name], type(value)), 3)
    end
  end
  local many = options.concurrency
  if many and (many < 1 or many ~= math.floor(many)) then
    error("cancel_orders: concurrency: expected a whole number from 1, found " .. tostring(many), 3)
  end
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
-- @treturn table report: `counts` by outcome and `not_started`; for a list also `rejected`, `unknown`, `not_sent` and
--   `not_started`, lists of `{ index, item, err }`
-- @raise on a closed client, an item that is not a table, or a misuse of the options
function batch.cancel_orders(client, items, options)
  options = options or {}
  check(items, options)
  client.handle:describe(true)

  local concurrency = options.concurrency or CONCURRENCY
  local stop_on = options.stop_on or { auth = true }
  local total = type(items) == "table" and #items or nil
  local report = new_report(items)
  local loop = Loop.new(client.host.await)
  local started, done, stopped = 0, 0, false
  local flying, orders, in_flight = {}, {}, 0

  local function conclude(index, item, result, err)
    done = done + 1
    if result then report.counts.accepted = report.counts.accepted + 1
    else enter(report, err.outcome, index, item, err) end
    if err and stop_on[err.kind] then stopped = true end
    if options.on_result then options.on_result(index, item, result, err) end
    if options.on_progress then options.on_progress(done, total, report.counts) end
  end

  local function next_item()
    if stopped or loop.closed or (total and started == total) then return nil end
    local item
    if total then item = items[started + 1] else item = items() end
    if item == nil then stopped = true else started = started + 1 end
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
      -- `on_result` may close the client, and with it this loop; then all are done
      local pending = next(flying)
      if not loop.closed then pending = loop:step() end
      if pending then
        land(pending)
        start()
      else loop:wait(math.huge) end
    end
  end

  client.loops[loop] = true
  local ok, why = pcall(run)
  client.loops[loop] = nil
  loop:close()
  if not ok then error(why, 0) end

  for index = started + 1, total or 0 do enter(report, "not_started", index, items[index]) end
  return report
end

return batch
