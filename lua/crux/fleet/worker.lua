--- A worker: makes the calls of a fleet by the machinery of a batch. An order is claimed only when
-- its call can start at once, and nothing of the call is sent after its claim's time is over.
-- @module crux.fleet.worker
local Link = require "crux.fleet.link"
local Pacer = require "crux.pacer"
local batch = require "crux.batch"

local cjson = require("cjson").new()

local error, huge, ipairs, max, min = error, math.huge, ipairs, math.max, math.min
local next, pcall, rawget, remove, setmetatable = next, pcall, rawget, table.remove, setmetatable
local type, _G = type, _G

local Worker = {}
Worker.__index = Worker

local CONCURRENCY = 8
-- A claim outlasts its call by so many seconds, in which the request may still be on the way.
local GRACE = 10
-- Pauses after failures, in seconds.
local FIRST_PAUSE, LAST_PAUSE = 1, 60
-- An exchange with Redis waits until a quarter of the slots is free, but no longer than this, so
-- that each carries a window of orders and not one; seconds.
local SLOTS, GATHER = 4, 0.02
-- How often Redis is asked while the queue is empty, in seconds.
local FIRST_IDLE, LAST_IDLE = 0.02, 0.5
-- How long a worker goes on without Redis, and tries to tell the last outcomes, in seconds.
local PATIENCE, LAST_PATIENCE = 300, 10

-- --- what to start ---

--- Asks Redis for orders.
-- @local
function Worker:fetch(free)
  local link, now = self.link, self.now()
  if self.in_flight > 0 and now < link.told_at + GATHER and free < self.concurrency / SLOTS then
    return
  end
  if now < self.paused_until then free = 0 end
  if self.pause > 0 or self.failures >= Pacer.OUTAGE then -- a single try
    free = self.in_flight == 0 and min(free, 1) or 0
  end
  if free == 0 and not link.finishes[1] and link.pause == 0 then return end
  if not link.finishes[1] and now < self.asks_at then return end
  link:refresh(free, self.concurrency)
  if free > 0 then
    if link:lacks(free) then link:refresh(free, self.concurrency) end
    for _, claim in ipairs(link:claim(free)) do self.ready[#self.ready + 1] = claim end
  end
  if self.ready[1] then self.idle = FIRST_IDLE
  elseif not link.entries[1] then
    self.asks_at, self.idle = now + self.idle, min(2 * self.idle, LAST_IDLE)
  end
end

local function detail_of(kind, message) return cjson.encode{ kind = kind, message = message } end

-- The arguments of a claimed order, or nil if it is not to be sent.
local function arguments_of(self, claim)
  if self.now() >= claim.latest then -- the process was stopped meanwhile
    self.link:finish(claim, "return", "{}")
    return nil
  end
  local ok, arguments = pcall(cjson.decode, claim.text)
  if ok and type(arguments) == "table" then return arguments end
  self.link:finish(claim, "not_sent", detail_of("unreadable", "its arguments were not readable"))
  self.counts.not_sent = self.counts.not_sent + 1
  return nil
end

--- The batch's next item: arguments, false: none now, or nil: none any more.
-- @local
function Worker:next_item()
  if not self.ready[1] then self:fetch(self.concurrency - self.in_flight) end
  while self.ready[1] do
    local claim = remove(self.ready, 1)
    local arguments = arguments_of(self, claim)
    if arguments then
      self.started, self.in_flight = self.started + 1, self.in_flight + 1
      self.claims[self.started], self.latest = claim, claim.latest
      return arguments
    end
  end
  local link = self.link
  local is_idle = self.in_flight == 0 and not link.finishes[1] and not link.entries[1]
  if self.until_empty and is_idle and not link.failed_at and link.left == 0 then return nil end
  return false
end

-- --- what came of it ---

-- What a failed call means for the queue.
local function outcome_of(err)
  if err.kind == "auth" then return "return" end -- which ends the worker
  if err.status == 429 then return "queue" end
  if err.outcome ~= "not_sent" or err.kind == "invalid" then return err.outcome end
  return err.kind == "aborted" and "return" or "queue"
end

--- A failure that says nothing about the order: the worker pauses, unless it has since.
-- @local
function Worker:back_off(claim)
  if claim.at < self.paused_at then return end
  self.pause = self.pause == 0 and FIRST_PAUSE or min(2 * self.pause, LAST_PAUSE)
  self.paused_at = self.now()
  self.paused_until = max(self.paused_until, self.paused_at + self.pause)
end

--- Takes a failed attempt: a 429 pauses all workers.
-- @local
function Worker:heard(err)
  if err.status ~= 429 and not (err.status == 503 and err.retry_after) then return end
  self.link:pause_all(err.retry_after or max(self.pause, FIRST_PAUSE))
end

--- Takes what came of an order.
-- @local
function Worker:take_result(index, arguments, result, err)
  local claim = self.claims[index]
  self.claims[index], self.in_flight = nil, self.in_flight - 1
  local outcome, detail = "accepted", { status = result and result.status }
  if err then
    outcome = outcome_of(err)
    detail = { status = err.status, kind = err.kind, message = err.message, hint = err.hint }
  end
  self.link:finish(claim, outcome, cjson.encode(detail))
  if outcome == "queue" or outcome == "return" then self.queued_again = self.queued_again + 1
  else self.counts[outcome] = self.counts[outcome] + 1 end
  if outcome == "queue" then self:back_off(claim)
  elseif outcome == "accepted" or outcome == "rejected" then self.pause = 0 end
  self.failures = (outcome == "queue" or outcome == "unknown") and self.failures + 1 or 0
  local on_result = self.options.on_result
  if not on_result or self.raised then return end
  local ok, why = pcall(on_result, index, arguments, result, err)
  if not ok then self.raised = { why } end
end

-- --- the end ---

-- Whether this nginx worker process is about to end.
local function is_exiting()
  local ngx = rawget(_G, "ngx")
  return type(ngx) == "table" and ngx.worker and ngx.worker.exiting()
end

--- Whether no more shall be started: nil, `"stop"` or `"abort"`. Asked all the time, so outcomes
-- are told here too, when nothing else is done.
-- @local
function Worker:wish()
  local link, stopped = self.link, self.options.stopped and self.options.stopped()
  if link.finishes[1] and self.now() > max(link.since, link.told_at) + GATHER then
    link:refresh(0, 0)
  end
  if link:away() > (self.options.patience or PATIENCE) then self.is_without_redis = true end
  if stopped == "twice" then return "abort" end
  return (stopped or self.raised or self.is_without_redis or is_exiting()) and "stop" or nil
end

local worker = {}

--- See `Fleet:work`.
-- @local
function worker.run(fleet, options)
  local limit = fleet.client:time_limit()
  local self = setmetatable({
    options = options, now = fleet.client:clock(), until_empty = options.until_empty,
    concurrency = options.concurrency or CONCURRENCY,
    link = Link.new(fleet, limit, limit + GRACE, options),
    ready = {},   -- claimed, and about to start
    claims = {},  -- of calls in flight, by index
    latest = huge, started = 0, in_flight = 0, queued_again = 0,
    counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0 },
    failures = 0, -- calls in a row that say nothing about their orders
    pause = 0, paused_at = -huge, paused_until = -huge, idle = FIRST_IDLE, asks_at = -huge,
  }, Worker)
  local ok, made, err = pcall(batch.run, fleet.client, "cancel_order", "batch",
    function() return self:next_item() end, {
      concurrency = options.concurrency, stop_on = options.stop_on, max_failures = false,
      on_result = function(...) self:take_result(...) end,
    }, 2, function() return self:wish() end, {
      latest = function() return self.latest end, heard = function(failure) self:heard(failure) end,
    })
  for _, claim in ipairs(self.ready) do self.link:finish(claim, "return", "{}") end
  for _, claim in next, self.claims do self.link:finish(claim, "unknown", "{}") end
  local unrecorded = self.link:close(min(LAST_PATIENCE, options.patience or PATIENCE))
  if not ok then error(made, 0) end
  if not made then return nil, err end
  if self.raised then error(self.raised[1], 0) end
  local report = {
    counts = self.counts, queued_again = self.queued_again, unrecorded = unrecorded,
    stopped = made.stopped, stopped_by = made.stopped_by,
  }
  if self.is_without_redis or unrecorded > 0 then
    report.stopped, report.stopped_by = "redis", self.link.why
  end
  return report
end

return worker
