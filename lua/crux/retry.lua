--- When to try again. Whether that is allowed at all, `crux_retryable` in `csrc/http/outcome.c`
-- has decided: `err.retryable`. Pure but for the jitter: it looks at a call and at an error, and
-- changes neither. The retries of all calls of a client draw on one budget, so that a dead service
-- does not get several times the requests of a healthy one.
-- @module crux.retry
local core = require "crux.core"

local min = math.min

local retry = {}

-- Exponential backoff with full jitter, in seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5

-- The budget, and what an attempt takes out of it and a success puts back.
local BUDGET, AFTER_FAILURE, AFTER_TIMEOUT, FOR_SUCCESS = 500, 5, 10, 1

local function cost(err) return err.kind == "timeout" and AFTER_TIMEOUT or AFTER_FAILURE end

--- Makes a full budget.
-- @tparam[opt] function on_change called with whether the budget is full, when that changes
-- @treturn table budget; `left` is what is in it
function retry.budget(on_change) return { left = BUDGET, on_change = on_change } end

--- Takes the cost of another attempt out of a budget.
-- @tparam table budget
-- @tparam table err what the last attempt came to
function retry.spend(budget, err)
  local was_full = budget.left == BUDGET
  budget.left = budget.left - cost(err)
  if was_full and budget.on_change then budget.on_change(false) end
end

--- Puts back into a budget what a success is worth.
-- @tparam table budget
function retry.earn(budget)
  if budget.left == BUDGET then return end
  budget.left = min(budget.left + FOR_SUCCESS, BUDGET)
  if budget.left == BUDGET and budget.on_change then budget.on_change(true) end
end

--- Returns how long to pause before the next attempt.
-- The server's `Retry-After` counts, if it sent one. Otherwise the pause is random, from 0 up to
-- 0.5 s after the first attempt, 1 s after the second, and so on up to 5 s.
-- @tparam table call `attempts` made so far, `renewals` of these that a new token led to and that
--   cost nothing, `retries` allowed after the first, `deadline` in seconds on the same
--   clock as `now`; `budget`, if it has one
-- @tparam table err what the last attempt came to
-- @tparam number now seconds
-- @treturn ?number seconds, 0 or more; nil if there must be no further attempt: the error is not
--   retryable, there were enough attempts, the budget is spent, or the pause would not end before
--   the deadline
-- @usage retry.pause({ attempts = 1, retries = 2, deadline = 30 },
--   { retryable = true, retry_after = 3 }, 0) --> 3
function retry.pause(call, err, now)
  local attempts = call.attempts - (call.renewals or 0)
  if not err.retryable or attempts > call.retries then return nil end
  if call.budget and call.budget.left < cost(err) then return nil end
  local seconds = err.retry_after
  if not seconds then
    seconds = core.random() * min(FIRST_PAUSE * 2 ^ (attempts - 1), LONGEST_PAUSE)
  end
  if now + seconds < call.deadline then return seconds end
  return nil
end

return retry
