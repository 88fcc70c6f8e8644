--- What a journal says of its orders: rows, counts and the exit code.
-- @module crux.cli.tally
local tally = {}

local SIGNALS = { SIGHUP = 1, SIGINT = 2, SIGTERM = 15 }

-- A number of JSON as an integer, where Lua has integers.
local function whole(number) return number and math.floor(number) end

--- One order of the report.
-- @tparam crux.cli.journal journal
-- @tparam number index
-- @treturn[1] table `index`, `order_uuid`, `arguments`, `outcome` (`"not_started"` too), and where
--   known `status`, `kind`, `message`, `hint`, and `looked`: what `reconcile` found
-- @treturn[2] nil
-- @treturn[2] string message
function tally.row(journal, index)
  local arguments, message = journal:arguments(index)
  if not arguments then return nil, message end
  local line, state = nil, journal:state(index)
  if state.name ~= "none" then
    line, message = journal:last_line(index)
    if not line then return nil, message end
  end
  line = line or {}
  return {
    index = index, order_uuid = arguments.order_uuid, arguments = arguments,
    outcome = state.outcome, status = whole(line.status), kind = line.kind, message = line.message,
    hint = line.hint, looked = line.looked,
  }
end

--- Iterates over the orders of the report.
-- @tparam crux.cli.journal journal
-- @treturn function at each call a row, as from `row`; nil at the end; nil and a message after a
--   failure
function tally.rows(journal)
  local index = 0
  return function()
    if index >= journal:count() then return nil end
    index = index + 1
    return tally.row(journal, index)
  end
end

--- Counts the orders of a journal.
-- @tparam crux.cli.journal journal
-- @treturn table `orders`: how many; `counts`: by outcome; `looked`: counts by what `reconcile`
--   found; `pending`: how many a resumed run would send; `unknown`: how many have an unknown
--   outcome and were not looked at, or were found open; `unauthorized`: how many were not sent, or
--   were rejected, for want of a token; `failed`: how many were rejected or are invalid, or were
--   looked at and are not cancelled, for good; `stopped`: `reason`, `signal`, `message`, or nil
function tally.summary(journal)
  local counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 }
  local looked = { cancelled = 0, partial = 0, open = 0, closed = 0 }
  local sums = { pending = 0, unknown = 0, unauthorized = 0, failed = 0 }
  local function add(name, condition)
    if condition then sums[name] = sums[name] + 1 end
  end
  for index = 1, journal:count() do
    local state = journal:state(index)
    counts[state.outcome] = counts[state.outcome] + 1
    if state.looked then looked[state.name] = looked[state.name] + 1 end
    add("pending", state.sends)
    add("unknown", state.looks)
    add("unauthorized", state.is_auth)
    add("failed", state.fails)
  end
  return {
    orders = journal:count(), counts = counts, looked = looked, pending = sums.pending,
    unknown = sums.unknown, unauthorized = sums.unauthorized, failed = sums.failed,
    stopped = journal.stopped,
  }
end

--- The exit code of what a whole journal says, the first that fits.
-- @tparam table summary
-- @treturn number
function tally.exit_code(summary)
  local signal = summary.stopped and SIGNALS[summary.stopped.signal or ""]
  if signal then return 128 + signal end
  if summary.unknown > 0 then return 3 end
  if summary.unauthorized > 0 then return 4 end
  if summary.pending > 0 then return 5 end
  return summary.failed > 0 and 1 or 0
end

return tally
