--- When a batch may start its next attempt, how many calls at once, and when it has to end. It has
-- no clock and no server of its own: it is told the time, and what each attempt and call came to.
--
-- *Pauses.* A 429 or 503 with `Retry-After` pauses the batch until then, a 429 without one for 1 s,
-- doubling to 30. *Outages.* After 5 failures in a row, if any call has got through before, one
-- call is made at a time, with such pauses in between, until one gets through.
--
-- Attempts are numbered. One that began before the last pause was decided says nothing about what
-- came after that pause, so it does not double it.
-- @classmod crux.pacer
local huge, max, min, setmetatable = math.huge, math.max, math.min, setmetatable

local Pacer = {}
Pacer.__index = Pacer

-- So many failures in a row are an outage.
local OUTAGE = 5
-- Pauses without a `Retry-After`, in seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 1, 30

--- How many failures in a row are an outage.
Pacer.OUTAGE = OUTAGE

--- Makes a pacer.
-- @tparam table options `concurrency`, `rate` (or nil), `max_failures` (or false), `max_pause`
-- @tparam function now returns the seconds on some clock
function Pacer.new(options, now)
  return setmetatable({
    now = now,
    concurrency = options.concurrency,
    interval = options.rate and 1 / options.rate or 0,
    max_failures = options.max_failures or huge, max_pause = options.max_pause,
    paused_until = -huge, next_by_rate = -huge, -- on the clock
    pause = 0,            -- the length of the last pause without a Retry-After; 0: one got through
    last = 0,             -- the number of the last attempt
    last_before_pause = 0, last_before_doubling = 0, -- the same when a pause was last decided
    failures = 0,         -- calls in a row that failed
    has_succeeded = false,
  }, Pacer)
end

--- Returns how many calls there may be at once.
-- @treturn number
function Pacer:limit() return self:is_outage() and 1 or self.concurrency end

--- Returns whether the service is taken to be out of order for a while.
-- @treturn boolean
function Pacer:is_outage() return self.has_succeeded and self.failures >= OUTAGE end

--- Returns when the next attempt may start.
-- @treturn number seconds on the clock
function Pacer:opens() return max(self.paused_until, self.next_by_rate) end

--- Counts an attempt that starts now.
-- @treturn number its number
function Pacer:start()
  self.last = self.last + 1
  self.next_by_rate = self.now() + self.interval
  return self.last
end

--- Pauses for 1 s or for twice the last pause, unless the attempt began before the last such pause.
-- @tparam number attempt
function Pacer:back_off(attempt)
  if attempt <= self.last_before_doubling then return end
  self.pause = self.pause == 0 and FIRST_PAUSE or min(2 * self.pause, LONGEST_PAUSE)
  self.paused_until = max(self.paused_until, self.now() + self.pause)
  self.last_before_pause, self.last_before_doubling = self.last, self.last
end

--- Takes what an attempt failed with.
-- @tparam table err
-- @tparam number attempt
-- @treturn ?string `"max_pause"`: the batch has to end
function Pacer:hear(err, attempt)
  if err.status ~= 429 and err.status ~= 503 then return nil end
  local seconds = err.retry_after
  if not seconds then
    if err.status == 429 then self:back_off(attempt) end
    return nil
  end
  if seconds > self.max_pause then return "max_pause" end
  self.paused_until = max(self.paused_until, self.now() + seconds)
  self.last_before_pause = self.last
  return nil
end

-- Whether an error says nothing about the order itself.
local function is_failure(err)
  if err.outcome == "not_sent" then return err.kind ~= "invalid" end
  return err.outcome == "unknown" or err.status == 429
end

--- Takes what a call came to.
-- @tparam ?table err nil if it was accepted
-- @tparam number attempt the number of its last attempt
-- @treturn ?string `"max_failures"`: the batch has to end
function Pacer:finish(err, attempt)
  if err and err.kind == "invalid" then return nil end
  if err and is_failure(err) then
    self.failures = self.failures + 1
    if self:is_outage() then self:back_off(attempt) end
    return self.failures >= self.max_failures and "max_failures" or nil
  end
  self.failures, self.has_succeeded = 0, true
  if attempt > self.last_before_doubling then self.pause = 0 end
  return nil
end

--- Returns whether a call that came to this may be started again, if it may be at all.
-- @tparam table err
-- @treturn boolean
function Pacer:may_repeat(err)
  if err.status == 429 then return true end
  local kind = err.kind
  return err.outcome == "not_sent" and self.has_succeeded
    and kind ~= "invalid" and kind ~= "auth" and kind ~= "aborted"
end

--- Returns whether a call that failed may be started again once `opens` has passed: there is a
-- pause since its last attempt, or others get through.
-- @tparam number attempt
-- @treturn boolean
function Pacer:is_over(attempt)
  return self.failures == 0 or self:is_outage() or attempt <= self.last_before_pause
end

return Pacer
