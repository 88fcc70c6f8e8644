--- Batches: `client:cancel_orders`, which keeps a few calls in flight until all orders are through.
-- @module crux.batch
local core = require "crux.core"
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

-- What is wrong with an item, or nil.
local function complaint(method, index, item)
  if type(item) == "table" then return nil end
  return format("%s: items[%d]: expected a table of arguments, found %s", method, index,
    item == nil and "nothing" or type(item))
end

-- The length of a list. All items are checked before any is sent. `level`: the user's, as the
-- caller would give it to `error`.
local function length(items, method, level)
  local count = 0
  for _ in next, items do count = count + 1 end
  for index = 1, count do
    local why = complaint(method, index, rawget(items, index))
    if why then error(why, level + 1) end
  end
  return count
end

-- The report of a list names each item that was not accepted. That of an iterator only counts,
-- since it may yield any number of items.
local function new_report(items)
  local counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 }
  local report = { counts = counts }
  if type(items) == "table" then
    report.rejected, report.not_sent, report.unknown, report.not_started = {}, {}, {}, {}
  end
  return report
end

local function enter(report, outcome, index, item, err)
  report.counts[outcome] = report.counts[outcome] + 1
  local list = report[outcome]
  if list then list[#list + 1] = { index = index, item = item, err = err } end
end

--- Makes many calls of one endpoint, a few at a time, and waits for all of them. An error in the
-- iterator, `on_result` or `on_progress`, or a Ctrl-C, aborts what is in flight and is raised
-- again.
-- @tparam crux.client client
-- @tparam string name the endpoint's
-- @tparam string method the client's method that this is for
-- @tparam table|function items a list of arguments, or a function that yields them and then nil
-- @tparam[opt] table options
-- @tparam[opt=8] number options.concurrency how many calls are in flight at once, from 1
-- @tparam[opt] function options.on_result called as `on_result(index, item, result, err)` for each
--   item that was started
-- @tparam[opt] function options.on_progress called as `on_progress(done, total, counts)` after each
--   item; `total` is nil for an iterator
-- @tparam[opt] table options.stop_on set of error kinds after which no more items are started;
--   `{ auth = true }` by default
-- @tparam number level the user's, as the caller would give it to `error`
-- @treturn[1] table report: `counts` by outcome, and of items `not_started`; for a list also the
--   lists `rejected`, `unknown`, `not_sent` and `not_started` of `{ index, item, err }`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise if `items` is neither list nor function, or an item is not a table; what a callback raises
-- @see crux.client:cancel_orders
function batch.run(client, name, method, items, options, level)
  if type(items) ~= "table" and type(items) ~= "function" then
    error(format("%s: expected a list of orders or an iterator function, found %s", method,
      type(items)), level + 1)
  end
  if options ~= nil and type(options) ~= "table" then
    error(format("%s: expected a table of options, found %s", method, type(options)), level + 1)
  end
  local known, refusal = read(options or {})
  if not known then return nil, refusal end
  options = known

  local concurrency = options.concurrency or CONCURRENCY
  local stop_on = options.stop_on or { auth = true }
  local total = type(items) == "table" and length(items, method, level + 1) or nil
  local report = new_report(items)
  local scheduler = client:new_scheduler()
  local started, done, stopped = 0, 0, false
  local in_flight, indices, orders = 0, {}, {} -- the latter two by pending
  local misuse -- what is wrong with an item of the iterator

  local function conclude(index, item, result, err)
    done = done + 1
    if result then report.counts.accepted = report.counts.accepted + 1
    else enter(report, err.outcome, index, item, err) end
    if err and rawget(stop_on, err.kind) then stopped = true end
    if options.on_result then options.on_result(index, item, result, err) end
    if options.on_progress then options.on_progress(done, total, report.counts) end
  end

  local function next_item()
    if stopped or scheduler:is_closed() or (total and started == total) then return nil end
    local item
    if total then item = rawget(items, started + 1) else item = items() end
    if item == nil then stopped = true
    elseif scheduler:is_closed() then -- the iterator has closed the client
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
      misuse = complaint(method, index, item)
      if misuse then error(misuse) end
      local call, err = client:prepare(name, item)
      if call then
        local pending = Pending.new(scheduler, call)
        indices[pending], orders[pending] = index, item
        in_flight = in_flight + 1
      else conclude(index, item, nil, err) end
    end
  end

  local function collect(pending)
    local index, item = indices[pending], orders[pending]
    indices[pending], orders[pending] = nil, nil
    in_flight = in_flight - 1
    local _, result, err = pending:poll()
    conclude(index, item, result, err)
  end

  local function run()
    start()
    while in_flight > 0 do
      local pending
      if not scheduler:is_closed() then pending = scheduler:step() end
      -- a callback may close the client, and so the scheduler: then all calls are done
      if scheduler:is_closed() then pending = pending or next(indices) end
      if pending then
        collect(pending)
        start()
      else scheduler:wait(huge) end
    end
  end

  local ok, why = pcall(run)
  scheduler:close()
  if misuse then error(misuse, level + 1) end
  if not ok then error(why, 0) end

  for index = started + 1, total or 0 do
    enter(report, "not_started", index, rawget(items, index))
  end
  return report
end

return batch
