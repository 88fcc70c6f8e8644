--- A bulk run as the user sees it: results, progress, signals, and what to do next.
-- @module crux.cli.run
local bulk = require "crux.cli.bulk"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local progress = require "crux.cli.progress"
local reconcile = require "crux.cli.reconcile"
local system = require "crux.os"
local tally = require "crux.cli.tally"
local words = require "crux.cli.words"

local run = {}

local WIDTHS = { 36, 11, 3, 0 }
local DEFAULT_CONCURRENCY = 8

--- Adds the flags of a command that sends many requests.
function run.configure(parser)
  parser:option("--concurrency", "requests in flight at once (default 8)"):argname "<n>"
    :convert(flags.count)
  parser:option("--rate", "requests per second, at most"):argname "<n>":convert(flags.positive)
  parser:option("--stop-after", "end after so many failures in a row that say nothing about the "
    .. "orders themselves (default 20)"):argname "<n>":convert(flags.count)
end

--- A word of a shell's.
function run.quoted(text)
  if text:find("^[%w_./:@%%+=,-]+$") then return text end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- A function that tells a run whether to end: after a signal, or when stdout has failed.
-- @treturn function returns nil, `"once"` or `"twice"`
function run.stopper(out, bar)
  local told = false
  return function()
    bar:tick()
    local count = system.signals()
    if out.broken then count = count + 1 end
    if count == 0 then return nil end
    if not told then
      told = true
      out:warn("crux: ending: no more is started, what is in flight is waited for; "
        .. "once more to end at once")
    end
    return count > 1 and "twice" or "once"
  end
end

-- A stdout that has failed counts as Ctrl-C.
local function signal_name()
  local _, name = system.signals()
  return name or "SIGINT"
end

--- Prints one order's result.
function run.print_order(out, row)
  out:json("order", {
    { "order_uuid", row.order_uuid }, { "outcome", row.outcome }, { "status", row.status },
    { "looked", row.looked }, { "kind", row.kind }, { "message", row.message },
    { "hint", row.hint },
  })
  if out.quiet and row.outcome == "accepted" then return end
  local told = row.looked and "read: " .. row.looked or row.message
  out:row({ row.order_uuid, row.outcome, row.status, told }, WIDTHS)
  if row.hint then out:advise(row.hint) end
end

--- What `print_order` prints of a call.
function run.row_of(arguments, result, err)
  local answer = result or err
  return {
    order_uuid = arguments.order_uuid, outcome = answer.outcome, status = answer.status,
    kind = err and err.kind, message = err and words.message(err), hint = err and words.hint(err),
  }
end

-- What to do next, as pairs of a command and what it does.
local function next_steps(summary, path)
  local steps, journal = {}, run.quoted(path)
  if summary.unknown > 0 and summary.looked.open < summary.unknown then
    steps[#steps + 1] = {
      "crux reconcile " .. journal, "reads the orders whose outcome is unknown",
    }
  end
  if summary.unauthorized > 0 then
    steps[#steps + 1] = { "crux login", "logs in again, for crux resume" }
  end
  if summary.pending > 0 then
    steps[#steps + 1] = {
      "crux resume " .. journal, ("sends the %d orders that are left"):format(summary.pending),
    }
  end
  if summary.looked.open > 0 then
    steps[#steps + 1] = {
      "crux resume --resend-open " .. journal,
      "sends those again that were found open: only if you know that they were not received",
    }
  end
  return steps
end

local function counted(summary)
  local parts = {}
  for _, name in ipairs{ "accepted", "rejected", "not_sent", "unknown", "not_started" } do
    local count = summary.counts[name]
    if count > 0 then parts[#parts + 1] = ("%d %s"):format(count, name) end
  end
  for _, name in ipairs{ "cancelled", "partial", "open", "closed" } do
    local count = summary.looked[name]
    if count > 0 then parts[#parts + 1] = ("%d read: %s"):format(count, name) end
  end
  return table.concat(parts, ", ")
end

--- Prints what a journal says as a whole, and what to do next.
-- @tparam table out
-- @tparam table summary from `crux.cli.tally`
-- @tparam string path of the journal
-- @tparam number code the exit code
function run.summarize(out, summary, path, code)
  local stopped = summary.stopped
  out:json("summary", {
    { "orders", summary.orders }, { "counts", summary.counts }, { "looked", summary.looked },
    { "stopped", stopped and stopped.reason }, { "journal", path }, { "exit_code", code },
  })
  out:text(("%d orders: %s"):format(summary.orders, counted(summary)))
  if stopped and stopped.message then
    out:warn(("crux: ended early (%s): %s"):format(stopped.reason, stopped.message))
  end
  for _, step in ipairs(next_steps(summary, path)) do
    out:warn(("  %s  # %s"):format(step[1], step[2]))
  end
end

-- Ends a run or a reconciliation: closes the journal and finds the code.
local function finish(out, journal, result, code_of)
  out.before = nil
  local summary = tally.summary(journal)
  local code = code_of(summary)
  journal:close()
  if result.failure then
    out:warn("crux: the journal failed, so no more was started: " .. result.failure)
    if code == exit.OK then code = exit.FAILED end
  end
  run.summarize(out, summary, journal.path, code)
  return code
end

-- Options that the batch refuses are wrong arguments of the command.
local function checked(journal, result, err)
  if result then return result end
  journal:close()
  exit.fail(exit.USAGE, err.message)
end

--- Sends the orders of a journal.
-- @tparam table opened the session
-- @tparam table out
-- @tparam crux.cli.journal journal opened with a lock
-- @tparam table arguments of the command line
-- @treturn number the exit code
function run.send(opened, out, journal, arguments)
  local total = bulk.pending(journal, arguments.resend_open)
  local bar = progress(out, total)
  local result, err = bulk.run(journal, opened.client, {
    timeout = tonumber(arguments.timeout), concurrency = arguments.concurrency,
    rate = arguments.rate,
    stop_after = arguments.stop_after, resend_open = arguments.resend_open,
    stopped = run.stopper(out, bar), signal = signal_name,
    on_result = function(_, order, answer, failure)
      run.print_order(out, run.row_of(order, answer, failure))
    end,
    on_progress = function(done, _, counts) bar:update(done, total, counts) end,
  })
  bar:clear()
  return finish(out, journal, checked(journal, result, err), tally.exit_code)
end

-- 0: no outcome is unknown or open any more.
local function code_of_reconcile(summary)
  local count, _, number = system.signals()
  if count > 0 then return exit.by_signal(number) end
  return summary.unknown > 0 and exit.UNKNOWN or exit.OK
end

--- Ends a run that has nothing to send.
-- @treturn number the exit code
function run.nothing(out, journal) return finish(out, journal, {}, tally.exit_code) end

--- Reads the orders of a journal whose outcome is unknown.
-- @treturn number the exit code
function run.look(opened, out, journal, arguments)
  local bar = progress(out, tally.summary(journal).unknown)
  local counts = {}
  local result, err = reconcile(journal, opened.client, {
    concurrency = arguments.concurrency, rate = arguments.rate, stop_after = arguments.stop_after,
    stopped = run.stopper(out, bar),
    on_wait = function(seconds)
      out:note(("waiting %d s: requests may be on the way until then"):format(seconds))
    end,
    on_result = function(_, order, shown, failure)
      local state = shown and shown.state
      if state then counts[state] = (counts[state] or 0) + 1 end
      run.print_order(out, {
        order_uuid = order.order_uuid, outcome = "unknown", looked = state,
        kind = failure and failure.kind, message = failure and words.message(failure),
        hint = failure and words.hint(failure),
      })
    end,
    on_progress = function(done, total) bar:update(done, total, counts) end,
  })
  bar:clear()
  return finish(out, journal, checked(journal, result, err), code_of_reconcile)
end

--- Prints every order of a journal.
-- @tparam table out
-- @tparam crux.cli.journal journal
-- @tparam function check called between two orders
function run.report(out, journal, check)
  local rows = tally.rows(journal)
  while true do
    local row, why = rows()
    if not row then
      if why then exit.fail(exit.USAGE, why) end
      return
    end
    if row.hint then row.hint = words.hint(row) end
    run.print_order(out, row)
    check()
  end
end

--- How many requests are in flight at once.
function run.concurrency(arguments) return arguments.concurrency or DEFAULT_CONCURRENCY end

return run
