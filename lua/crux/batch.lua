--- Batches: `client:batch`, which keeps a few calls in flight until all items are through.
--
-- An item is held as an *entry*: `row`, that of the report; `restarts`, how often it was started
-- again; `is_counted`, whether the pacer was told what it came to; and the fields of
-- `crux.dispatcher`, which starts its attempts. Its call asks the batch (`call.pace`) after each
-- failed attempt.
-- @module crux.batch
local Dispatcher = require "crux.dispatcher"
local Pacer = require "crux.pacer"
local Pending = require "crux.pending"
local Report = require "crux.report"
local callback = require "crux.callback"
local core = require "crux.core"

local error, next, pcall, rawget, setmetatable = error, next, pcall, rawget, setmetatable
local type = type
local format, huge, max, min = string.format, math.huge, math.max, math.min

local Batch = {}
Batch.__index = Batch

local CONCURRENCY = 8
local MAX_FAILURES = 20
local MAX_PAUSE = 300 -- seconds
local STOP_ON = { auth = true, [403] = true, [409] = true }
-- How often an item is started again, at most.
local RESTARTS = 5
-- When an iterator that had nothing is asked again, in seconds.
local ASK_AGAIN = 0.02
-- How often it is asked whether it shall stop, in seconds.
local ASK_TO_STOP = 0.1
-- How many errors of the batch itself are survived while it waits for what is in flight.
local ERRORS = 20

-- A table of the options with their defaults, or nil and an error.
local function read(options)
  local known = {}
  for name, value in next, options do known[name] = value end
  local err = core.check_batch(known)
  if err then return nil, err end
  known.concurrency = known.concurrency or CONCURRENCY
  if known.max_failures == nil then known.max_failures = MAX_FAILURES end
  known.max_pause = known.max_pause or MAX_PAUSE
  known.stop_on = known.stop_on or STOP_ON
  return known
end

-- The length of a list. `level`: the user's, as the caller would give it to `error`.
local function length(items, method, level)
  local count = 0
  for _ in next, items do count = count + 1 end
  for index = 1, count do
    if rawget(items, index) == nil then
      error(format("%s: items[%d]: expected a table of arguments, found nothing", method, index),
        level + 1)
    end
  end
  return count
end

-- --- the end ---

--- Decides that no more is started, for the first reason there is.
-- @local
function Batch:stop(reason, by)
  if not reason or self.stopped then return end
  self.stopped = reason
  self.report:stop(reason, by)
end

--- Ends the batch by what a function, or the batch itself, raised.
-- `entry`: the item whose function it was.
-- @local
function Batch:fail(why, entry)
  local is_interrupt = not pcall(callback.pass_interrupt, why)
  if not self.raised or is_interrupt then self.raised = { why } end
  self.is_interrupted = self.is_interrupted or is_interrupt
  self.report:name_items()
  if entry then self.report:name(entry) end
  local ok, text = pcall(callback.text, self.raised[1])
  self.stopped = self.is_interrupted and "interrupted" or "error"
  self.report:stop(self.stopped, ok and text or "an error")
end

--- Calls a function of the user's, unless one has failed. Returns whether it was called and has
-- returned, and then its value.
-- @local
function Batch:call_user(entry, f, ...)
  if not f or self.raised then return false end
  local ok, value = pcall(f, ...)
  if ok then return true, value end
  self:fail(value, entry)
  return false
end

--- Returns whether `stop_on` has this error end the batch.
-- @local
function Batch:should_stop(entry, err)
  local stop_on = self.options.stop_on
  if type(stop_on) == "function" then
    local ok, value = self:call_user(entry, stop_on, err)
    return ok and value
  end
  return rawget(stop_on, err.kind) or err.status and rawget(stop_on, err.status)
end

--- Takes what a call came to, whether it is started again or not.
-- @local
function Batch:came_out(entry, err)
  entry.is_counted = true
  if err and not self.stopped and self:should_stop(entry, err) then self:stop("stop_on", err) end
  self:stop(self.pacer:finish(err, entry.attempt), err)
end

--- Enters an item that is done, and tells the user's functions.
-- @local
function Batch:conclude(entry, result, err)
  if not entry.is_counted then self:came_out(entry, err) end
  self.report:enter(entry, result, err)
  local row, pending = entry.row, entry.pending
  if pending and self.entries[pending] then
    self.entries[pending] = nil
    self.dispatcher:release(entry)
  end
  self.done = self.done + 1
  self:call_user(entry, self.options.on_result, row.index, row.item, result, err)
  self:call_user(entry, self.options.on_progress, self.done, self.total, self.report.counts)
end

-- --- what a call asks of its batch ---

--- Decides how a call goes on after a failed attempt.
-- @tparam table call
-- @tparam table err what the attempt came to
-- @tparam ?number seconds the pause before a retry; nil: there is none
-- @tparam table last_known what the call comes to if it ends here
-- @treturn ?number seconds until the next attempt, about; nil: the call ends
-- @local
function Batch:after(call, err, seconds, last_known)
  local entry, pacer = call.entry, self.pacer
  self:stop(pacer:hear(err, entry.attempt), err)
  entry.last_known = last_known
  if self.claims then self.claims.heard(err) end
  if not self.stopped and not seconds then
    self:came_out(entry, last_known)
    local has_left = entry.retries > 0 and entry.restarts < RESTARTS and not self.claims
    local may_repeat = has_left and not self.stopped and pacer:may_repeat(last_known)
    if may_repeat and (not call.may_retry or call.may_retry(call.request, last_known)) then
      entry.restarts, entry.is_waiting, seconds = entry.restarts + 1, true, 0
    end
  end
  if self.stopped or not seconds then return nil end
  local now = self.now()
  entry.is_counted = false
  entry.due = err.retry_after and now or now + seconds -- what the server asks for is the batch's
  local starts = max(entry.due, pacer:opens())
  return starts <= entry.latest and starts - now or nil
end

--- Keeps a call until its next attempt.
-- @local
function Batch:park(pending)
  self.dispatcher:park(self.entries[pending])
  self.has_parked = true
end

-- --- starting ---

local function invalid(index, item)
  local field = format("items[%d]", index)
  local err = core.failure("invalid",
    format("%s: expected a table of arguments, found a %s", field, type(item)))
  err.field = field
  return err
end

--- Makes the call of an item, after `on_start`, which may change the item.
-- @local
function Batch:prepare(entry)
  local row, on_start = entry.row, self.options.on_start
  if type(row.item) ~= "table" then return nil, invalid(row.index, row.item) end
  local call, err = self.client:prepare(self.name, row.item)
  if not call or not on_start then return call, err end
  core.release(call.request)
  if not self:call_user(entry, on_start, row.index, row.item) then return nil end
  if self:is_closed() then return nil end
  return self.client:prepare(self.name, row.item)
end

--- Returns whether the client is closed, which ends the batch.
-- @local
function Batch:is_closed()
  if not self.scheduler:is_closed() then return false end
  if not self.stopped then
    self.report:name_items()
    self:stop("closed", "the client was closed")
  end
  return true
end

--- Starts an item. `self.fresh` is the entry until its call is held, or it is in the report.
-- @local
function Batch:start_item(entry)
  local call, err = self:prepare(entry)
  if call then
    if self.claims then entry.latest = self.claims.latest(entry.row.item) end
    call.deadline = min(call.deadline, entry.latest)
    call.pace, call.entry = self, entry
    entry.deadline, entry.began, entry.retries = call.deadline, self.now(), call.retries
    entry.pending = Pending.new(self.scheduler, call, true)
    self.entries[entry.pending] = entry
    self.dispatcher:hold(entry)
    self.fresh = nil
    self.dispatcher:attempt(entry)
  elseif err then self:conclude(entry, nil, err)
  else self.report:enter(entry) end
  self.fresh = nil
end

--- Draws the next item, if there is one. Returns its entry.
-- @local
function Batch:next_item()
  local item
  if self.total then item = rawget(self.items, self.started + 1)
  else
    local ok
    ok, item = self:call_user(nil, self.items)
    if not ok then return nil end
  end
  self.is_empty = item == false and not self.total
  if item == nil then self.is_exhausted = true end
  if item == nil or self.is_empty then return nil end
  local row = { index = self.started + 1, item = item, err = nil }
  local entry = {
    restarts = 0, attempt = 0, attempts_before = 0, is_held = false, row = row, latest = huge,
  }
  self.fresh, self.started = entry, self.started + 1
  if self:is_closed() then -- by the iterator
    self.report:enter(entry)
    self.fresh = nil
    return nil
  end
  return entry
end

--- Starts one attempt that may start now. Returns whether there was one.
-- @local
function Batch:start_next()
  local dispatcher = self.dispatcher
  if self.stopped or not dispatcher:is_open() then return false end
  if dispatcher:retry() then return true end
  if dispatcher:is_full() then return false end
  if dispatcher:restart() then return true end
  local entry = not self.is_exhausted and dispatcher:has_room() and self:next_item()
  if entry then self:start_item(entry) else dispatcher:back_off() end
  return entry and true or false
end

-- --- the loop ---

--- Ends what is in flight, after a Ctrl-C.
-- @local
function Batch:abort()
  self.dispatcher:drop()
  for pending in next, self.entries do pending:abort() end
  self.has_aborted = true
end

--- Does what the caller wishes: starts no more, or ends what is in flight too.
-- @local
function Batch:obey()
  local wish = self.wish and self.wish()
  if not wish then return end
  self:stop("interrupted", "stopped by the caller")
  if wish == "abort" and not self.has_aborted then self:abort() end
end

--- Something was raised: enters what it has kept from being entered.
-- @local
function Batch:recover()
  if self.fresh then
    self.report:enter(self.fresh)
    self.fresh = nil
  end
  self.dispatcher:drop()
  for pending, entry in next, self.entries do
    -- an attempt that was about to start, and now never will
    if pending:call().attempts == entry.attempts_before then
      if entry.last_known then pending:end_with(entry.last_known) else pending:abort() end
    end
    local done, result, err = pending:poll()
    if done then self:conclude(entry, result, err) end
  end
end

--- Starts and collects until nothing is left, and completes the report.
-- @local
function Batch:loop()
  local scheduler, entries = self.scheduler, self.entries
  if self.raised then self:recover() end
  while true do
    self:obey()
    while not self:is_closed() and self:start_next() do self:obey() end
    if self.stopped then self.dispatcher:drop() end
    if self.is_interrupted and not self.has_aborted then self:abort() end
    local pending
    if not self:is_closed() then pending = scheduler:step() end
    if self:is_closed() then pending = pending or next(entries) end
    if pending then
      local _, result, err = pending:poll()
      if entries[pending] then self:conclude(entries[pending], result, err) end
    elseif self.has_parked then self.has_parked = false -- by this step: something may start now
    elseif self.dispatcher.held == 0 and (self.stopped or self.is_exhausted) then break
    else
      local ask_again = self.is_empty and ASK_AGAIN or nil
      local seconds = self.dispatcher:idle_seconds(not self.is_exhausted, ask_again)
      scheduler:wait(self.wish and min(seconds, ASK_TO_STOP) or seconds)
    end
  end
  while self.started < (self.total or 0) do
    local index = self.started + 1
    self.report:enter{ row = { index = index, item = rawget(self.items, index), err = nil } }
    self.started = index
  end
end

--- What is raised in the loop itself (Ctrl-C while it waits, lack of memory) ends the batch as what
-- a function raises does: the loop goes on until nothing is in flight.
-- @local
function Batch:run()
  for attempt = 1, ERRORS do
    local ok, why = pcall(self.loop, self)
    if ok then break end
    pcall(self.fail, self, why)
    if attempt > ERRORS / 2 then self.is_interrupted = true end
  end
  self.scheduler:close()
  if self.raised then error(self.raised[1], 0) end
  return self.report.values
end

local batch = {}

--- Makes many calls of one endpoint, a few at a time, and waits for all of them.
-- @tparam crux.client client
-- @tparam string name the endpoint's
-- @tparam string method the client's method that this is for
-- @tparam table|function items a list of arguments, or a function that yields them and then nil;
--   `false` from it: there are none now
-- @tparam[opt] table options see the reference
-- @tparam number level the user's, as the caller would give it to `error`
-- @tparam[opt] function wish for programs: asked all the time, returns nil, `"stop"`: start no
--   more, or `"abort"`: end what is in flight too; the report then says `"interrupted"`, and
--   nothing is raised
-- @tparam[opt] table claims for items that are held only for a while, and queued elsewhere: none is
--   started again here; `latest(item)`: the time on the client's clock after which nothing of its
--   call is sent; `heard(err)`: called after each failed attempt
-- @treturn[1] table report: `counts` by outcome, and of items `not_started`; for a list also the
--   lists `rejected`, `unknown`, `not_sent` and `not_started` of `{ index, item, err }`; `stopped`
--   and `stopped_by`, if the batch ended early
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise if `items` is neither list nor function; what a function of the batch raises, once nothing
--   is in flight; Ctrl-C
-- @see crux.client:batch
function batch.run(client, name, method, items, options, level, wish, claims)
  if type(items) ~= "table" and type(items) ~= "function" then
    error(format("%s: expected a list of orders or an iterator function, found %s", method,
      type(items)), level + 1)
  end
  if options ~= nil and type(options) ~= "table" then
    error(format("%s: expected a table of options, found %s", method, type(options)), level + 1)
  end
  local known, refusal = read(options or {})
  if not known then return nil, refusal end
  local total = type(items) == "table" and length(items, method, level + 1) or nil
  local now = client:clock()
  local pacer = Pacer.new(known, now)
  local self = setmetatable({
    client = client, name = name, items = items, total = total, options = known, now = now,
    pacer = pacer, dispatcher = Dispatcher.new(pacer, known.concurrency, now),
    report = Report.new(known.report, total ~= nil),
    scheduler = client:new_scheduler(),
    entries = {},          -- by pending
    started = 0, done = 0, -- items
    is_exhausted = total == 0, is_empty = false,
    stopped = false, raised = nil, wish = wish, claims = claims,
  }, Batch)
  return self:run()
end

return batch
