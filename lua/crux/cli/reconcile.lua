--- Looks at the orders whose outcome is unknown: reads them, and records what they show. Nothing is
-- sent that changes anything.
-- @module crux.cli.reconcile
local batch = require "crux.batch"
local cancellation = require "crux.cancellation"
local core = require "crux.core"

-- For so many seconds after a call's deadline its request may be on the way, or be worked on.
local GRACE = 10
-- How often it is asked whether to stop while nothing else is done, in seconds.
local SLICE = 0.1

-- The run in which a line was written.
local function run_at(journal, offset)
  local found = nil
  for _, run in ipairs(journal.runs) do
    if run.offset > offset then break end
    found = run
  end
  return found
end

-- When an order may be read, in seconds since the epoch. Without an outcome, an attempt may have
-- begun at any time up to the last that is known of the run.
local function readable_at(journal, index, line)
  if line.type == "looked" then return 0 end
  local run = run_at(journal, journal:offset(index))
  local timeout = run and run.timeout or 0
  local from = line.type == "intent" and run and run.latest or line.intent or line.time
  return from + timeout + GRACE
end

-- The orders to be read, and when the last of them may be.
local function wanted_of(journal)
  local wanted, latest = {}, 0
  for index = 1, journal:count() do
    if journal:state(index).looks then
      local line, message = journal:last_line(index)
      if not line then return nil, message end
      wanted[#wanted + 1] = index
      latest = math.max(latest, readable_at(journal, index, line))
    end
  end
  return wanted, latest
end

-- The longest wait that can be necessary, even if the clock was set back meanwhile.
local function longest_wait(journal)
  local longest = 0
  for _, run in ipairs(journal.runs) do longest = math.max(longest, run.timeout) end
  return longest + GRACE
end

-- Waits. Returns whether the time has passed.
local function wait(seconds, options)
  if seconds <= 0 then return true end
  if options.on_wait then options.on_wait(seconds) end
  local until_then = core.now() + seconds
  while core.now() < until_then do
    if options.stopped and options.stopped() then return false end
    core.sleep(SLICE)
  end
  return true
end

-- What an answer shows: a state, or nil and an error.
local function shown_by(arguments, result, err)
  if not result then return nil, err end
  if type(result.body) ~= "table" then
    return nil, core.failure("protocol", "get_order: expected an order, found something else")
  end
  return cancellation(result.body, arguments.skus)
end

--- Reads the orders whose intent has no outcome or an unknown one, and those that were found open
-- before, and records what they show. The first is read no sooner than the time limit of a call and
-- 10 s after the last intent.
-- @tparam crux.cli.journal journal opened with a lock
-- @tparam crux.client client
-- @tparam[opt] table options `concurrency`: 8; `rate`; `stop_after`; `stopped()`: as for
--   `crux.cli.bulk.run`; `on_wait(seconds)`: called before it waits; `on_result(index, arguments,
--   shown, err)`: `shown` is what `crux.cancellation` returns; `on_progress(done, total)`
-- @treturn[1] table `stopped`, `stopped_by`: as in a batch's report, or nil; `failure`: what went
--   wrong with the journal, or nil
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise what one of the functions raises
return function(journal, client, options)
  options = options or {}
  local wanted, latest = wanted_of(journal)
  if not wanted then return { failure = latest } end
  if #wanted == 0 then return {} end
  local seconds = math.min(latest - os.time(), longest_wait(journal))
  if not wait(seconds, options) then return { stopped = "interrupted" } end
  local failure, numbers, started = nil, {}, 0
  local function next_item()
    local index = wanted[started + 1]
    if not index or failure then return nil end
    local arguments, message = journal:arguments(index)
    if not arguments then
      failure = message
      return nil
    end
    started = started + 1
    numbers[started] = { index = index, arguments = arguments }
    return { order_uuid = arguments.order_uuid }
  end
  local function take_result(number, _, result, err)
    local order = numbers[number]
    numbers[number] = nil
    local shown, why = shown_by(order.arguments, result, err)
    if shown and not failure then
      local before = journal:last_line(order.index) or {}
      local ok, message = journal:look(order.index, {
        looked = shown.state, status = before.status, kind = before.kind, message = before.message,
        hint = before.hint, intent = before.intent,
      })
      if not ok then failure = message end
    end
    if options.on_result then options.on_result(order.index, order.arguments, shown, why) end
  end
  local report, err = batch.run(client, "get_order", "batch", next_item, {
    concurrency = options.concurrency, rate = options.rate, max_failures = options.stop_after,
    on_result = take_result,
    on_progress = function(done)
      if options.on_progress then options.on_progress(done, #wanted) end
    end,
  }, 2, function()
    local stopped = options.stopped and options.stopped()
    return stopped == "twice" and "abort" or (stopped or failure) and "stop" or nil
  end)
  if not report then return nil, err end
  local ok, message = journal:sync()
  if not ok then failure = failure or message end
  return { stopped = report.stopped, stopped_by = report.stopped_by, failure = failure }
end
