--- When to try again. Pure but for the jitter: it looks at a call and at an error, and changes
-- neither.
-- @module crux.retry
local core = require "crux.core"

local min = math.min

local retry = {}

-- Exponential backoff with full jitter, in seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5

--- Returns how long to pause before the next attempt.
-- The server's `Retry-After` counts, if it sent one. Otherwise the pause is random, from 0 up to
-- 0.5 s after the first attempt, 1 s after the second, and so on up to 5 s.
-- @tparam table call `attempts` made so far, `renewals` of these that a new token led to and that
--   cost nothing, `retries` allowed after the first, `deadline` in seconds on the clock of
--   `core.now`
-- @tparam table err what the last attempt came to
-- @tparam number now seconds on the same clock
-- @treturn ?number seconds, 0 or more; nil if there must be no further attempt: the error is not
--   retryable, there were enough attempts, or the pause would not end before the deadline
-- @usage retry.pause({ attempts = 1, retries = 2, deadline = 30 },
--   { retryable = true, retry_after = 3 }, 0) --> 3
function retry.pause(call, err, now)
  local attempts = call.attempts - (call.renewals or 0)
  if not err.retryable or attempts > call.retries then return nil end
  local seconds = err.retry_after
  if not seconds then
    seconds = core.random() * min(FIRST_PAUSE * 2 ^ (attempts - 1), LONGEST_PAUSE)
  end
  if now + seconds < call.deadline then return seconds end
  return nil
end

return retry
