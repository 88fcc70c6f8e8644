--- Bulk runs: sends the orders of a journal. It neither prints nor reads arguments.
--
-- The intents of the next few orders are written and synced together, while the calls of those
-- before them are in flight: the worker's thread goes on during the sync. So what was sent is
-- always among the intents on the disk, whenever the process ends.
-- @module crux.cli.bulk
local batch = require "crux.batch"

local bulk = {}

local CONCURRENCY = 8

local Run = {}
Run.__index = Run

-- --- the orders of a run ---

-- The index of the next order to be sent, or nil.
local function next_index(self)
  local journal = self.journal
  for index = self.place + 1, journal:count() do
    local state = journal:state(index)
    if state.sends or self.resend_open and state.name == "open" then
      self.place = index
      return index
    end
  end
  self.place = journal:count()
  return nil
end

-- Ends the run by a failure of the journal: nothing that is not yet in flight is sent.
local function fail(self, message) self.failure = self.failure or message end

-- Writes the intents of the next orders. They are sent only after this has succeeded.
local function refill(self)
  local indices, ready = {}, {}
  while #indices < self.window do
    local index = next_index(self)
    if not index then break end
    local arguments, message = self.journal:arguments(index)
    if not arguments then return fail(self, message) end
    indices[#indices + 1] = index
    ready[#ready + 1] = { index = index, arguments = arguments, intent = os.time() }
  end
  if #indices == 0 then return end
  local ok, message = self.journal:intend(indices)
  if not ok then return fail(self, message) end
  self.ready, self.first = ready, 1
end

-- Whether no more shall be started: nil, "stop" or "abort".
local function wish(self)
  self.journal:beat()
  local stopped = self.options.stopped and self.options.stopped()
  if stopped then self.was_stopped = true end
  if stopped == "twice" then return "abort" end
  return (stopped or self.failure or self.raised) and "stop" or nil
end

-- The batch's next item.
local function next_item(self)
  if self.first > #self.ready then refill(self) end
  local order = self.ready[self.first]
  if self.failure or not order then return nil end
  self.first = self.first + 1
  self.count = self.count + 1
  self.in_flight[self.count] = order
  return order.arguments
end

-- --- what came of them ---

-- What the journal keeps of an outcome.
local function fields_of(result, err, intent)
  if result then return { outcome = "accepted", status = result.status, intent = intent } end
  return {
    outcome = err.outcome, status = err.status, kind = err.kind, message = err.message,
    hint = err.hint, intent = intent,
  }
end

-- Calls a function of the caller's. Its error ends the run, once what is in flight is recorded.
local function tell(self, f, ...)
  if not f or self.raised then return end
  local ok, why = pcall(f, ...)
  if not ok then self.raised = { why } end
end

local function take_result(self, number, result, err)
  local order = self.in_flight[number]
  self.in_flight[number] = nil
  local ok, message = self.journal:conclude(order.index, fields_of(result, err, order.intent))
  if not ok then fail(self, message) end
  self.done = self.done + 1
  tell(self, self.options.on_result, order.index, order.arguments, result, err)
end

-- Intents of orders that never began.
local function give_back(self)
  for place = self.first, #self.ready do
    local order = self.ready[place]
    local ok, message = self.journal:conclude(order.index, { outcome = "not_started" })
    if not ok then return fail(self, message) end
  end
  self.ready, self.first = {}, 1
end

-- Why the run has ended before its orders had, for the journal, or nil.
local function reason_of(self, report)
  local text = nil
  if self.was_stopped then
    return { reason = "signal", signal = self.options.signal and self.options.signal() }
  elseif self.failure then return nil -- which cannot be written either
  elseif self.raised then return { reason = "error" }
  elseif report.stopped then
    local by = report.stopped_by
    if type(by) == "table" then text = by.message elseif type(by) == "string" then text = by end
    return { reason = report.stopped, message = text }
  end
  return nil
end

-- Writes what is left to write.
local function finish(self, report)
  give_back(self)
  local stopped = reason_of(self, report)
  local ok, message = true, nil
  if stopped then ok, message = self.journal:stop(stopped) end
  if ok then ok, message = self.journal:sync() end
  if not ok then fail(self, message) end
end

--- How many orders a run would send.
-- @tparam crux.cli.journal journal
-- @tparam[opt] boolean resend_open also those that `reconcile` found open
-- @treturn number
function bulk.pending(journal, resend_open)
  local count = 0
  for index = 1, journal:count() do
    local state = journal:state(index)
    if state.sends or resend_open and state.name == "open" then count = count + 1 end
  end
  return count
end

--- Sends the orders of a journal that are not accepted, rejected or unknown.
-- @tparam crux.cli.journal journal opened with a lock
-- @tparam crux.client client
-- @tparam[opt] table options `timeout`: the client's, 30 if left out; `concurrency`: 8; `rate`;
--   `stop_after`: the batch's `max_failures`; `resend_open`: also the orders that `reconcile` found
--   open; `stopped()`: nil, `"once"`: no more is started, or `"twice"`: what is in flight ends too;
--   `signal()`: the name of the signal that this comes from; `on_result(index, arguments, result,
--   err)`, once it is in the journal; `on_progress(done, total, counts)`: counts by outcome
-- @treturn[1] table `stopped`, `stopped_by`: as in a batch's report, or nil; `failure`: what went
--   wrong with the journal, or nil
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise what one of the functions raises, once nothing is in flight
function bulk.run(journal, client, options)
  options = options or {}
  local self = setmetatable({
    journal = journal, options = options, resend_open = options.resend_open,
    window = options.concurrency or CONCURRENCY, place = 0, count = 0, done = 0,
    ready = {}, first = 1, -- orders with an intent that have not begun
    in_flight = {},        -- by the batch's number
    failure = nil, raised = nil, was_stopped = false,
  }, Run)
  local total = bulk.pending(journal, options.resend_open)
  if total == 0 and not journal.stopped then return {} end
  local ok, message = journal:begin{ timeout = options.timeout or 30 }
  if ok and total == 0 then ok, message = journal:sync() end
  if total == 0 or not ok then return { failure = message } end
  local ran, report, err = pcall(batch.run, client, "cancel_order", "batch",
    function() return next_item(self) end, {
      concurrency = self.window, rate = options.rate, max_failures = options.stop_after,
      on_result = function(number, _, result, why) take_result(self, number, result, why) end,
      on_progress = function(done, _, counts)
        tell(self, options.on_progress, done, total, counts)
      end,
    }, 2, function() return wish(self) end)
  if ran and not report then return nil, err end
  if not ran then self.raised = self.raised or { report } end
  finish(self, ran and report or {})
  if self.raised then error(self.raised[1], 0) end
  return { stopped = report.stopped, stopped_by = report.stopped_by, failure = self.failure }
end

return bulk
