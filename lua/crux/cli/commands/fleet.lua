--- crux fleet: many workers that cancel the orders of a queue in Redis.
-- @module crux.cli.commands.fleet
local Fleet = require "crux.fleet"
local ask = require "crux.cli.ask"
local core = require "crux.core"
local crux = require "crux"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local input = require "crux.cli.input"
local output = require "crux.cli.output"
local progress = require "crux.cli.progress"
local read = require "crux.cli.read"
local run = require "crux.cli.run"
local session = require "crux.cli.session"
local system = require "crux.os"
local words = require "crux.cli.words"

local command = {
  summary = "cancel the orders of a queue in Redis, by many workers",
  description = "enqueue FILE adds the orders of a file to a queue in Redis; work sends them, as "
    .. "one of any number of workers, until it gets a signal or with --until-empty until none is "
    .. "left; status counts; report prints each order; reconcile reads those whose outcome is "
    .. "unknown. No order is sent twice, whichever worker is killed. An order that the queue has "
    .. "had before is not added again.",
}

local TASKS = { "enqueue", "work", "status", "report", "reconcile" }
-- How often the whole queue is counted while a worker runs, in seconds.
local COUNT = 1

function command.configure(parser)
  parser:argument("task", "what to do"):choices(TASKS)
  parser:argument("file", "the orders to add; - is stdin"):argname "FILE":args "?"
  parser:option("--redis", "the server, such as redis://host:6379/0 (default $CRUX_REDIS, which "
    .. "alone should hold a password, or redis://127.0.0.1)"):argname "<url>"
  parser:option("--redis-ca-file", "trust anchors for rediss://"):argname "<file>"
  parser:option("--queue", "the name of the queue (default orders)"):argname "<name>"
  parser:flag("--ignore-columns", "leave out columns that are not known")
  parser:option("--max", "refuse more than so many orders"):argname "<n>":convert(flags.count)
  parser:flag("-y --yes", "go on without a question")
  parser:option("--concurrency", "requests of a worker in flight at once (default 8)")
    :argname "<n>":convert(flags.count)
  parser:option("--rate", "calls per second of all workers together, at most"):argname "<n>"
    :convert(flags.positive)
  parser:flag("--until-empty", "end once no order is left")
  parser:flag("--unsafe", "do not ask Redis whether it keeps what it confirms: orders could be "
    .. "sent twice if it does not")
  flags.service(parser)
end

-- --- a fleet ---

local function redis_url(arguments)
  local variable = os.getenv "CRUX_REDIS"
  return arguments.redis or variable ~= "" and variable or "redis://127.0.0.1"
end

local FLAGS = { redis = "--redis", queue = "--queue" }

local function new_fleet(arguments, opened)
  local fleet, err = Fleet.new{
    redis = redis_url(arguments), queue = arguments.queue, client = opened.client,
    ca_file = arguments.redis_ca_file,
  }
  if fleet then return fleet end
  local message = err.message:gsub("^(%w+)", FLAGS)
  exit.fail(exit.USAGE, message)
end

-- An error of the fleet's ends the command.
local function checked(value, err)
  if value then return value end
  exit.fail(err.kind == "invalid" and exit.USAGE or exit.FAILED, err.message)
end

-- --- what the whole queue says ---

local OUTCOMES = { "accepted", "rejected", "not_sent", "unknown", "not_started" }

-- Counts as in a bulk run, by outcome.
local function summary_of(status)
  local states, looked = status.states, status.looked
  local unknown = states.unknown + states.sending
  return {
    orders = status.orders, looked = looked, pending = states.queued,
    counts = {
      accepted = states.accepted, rejected = states.rejected, not_sent = states.not_sent,
      unknown = unknown, not_started = states.queued,
    },
    unknown = unknown - looked.cancelled - looked.partial - looked.closed,
    failed = states.rejected + states.not_sent + looked.partial + looked.closed,
  }
end

local function code_of(summary)
  if summary.unknown > 0 then return exit.UNKNOWN end
  if summary.pending > 0 then return exit.STOPPED end
  return summary.failed > 0 and exit.FAILED or exit.OK
end

local function counted(summary)
  local parts = {}
  for _, name in ipairs(OUTCOMES) do
    if summary.counts[name] > 0 then
      parts[#parts + 1] = ("%d %s"):format(summary.counts[name], name)
    end
  end
  for _, name in ipairs{ "cancelled", "partial", "open", "closed" } do
    if summary.looked[name] > 0 then
      parts[#parts + 1] = ("%d read: %s"):format(summary.looked[name], name)
    end
  end
  return #parts > 0 and ": " .. table.concat(parts, ", ") or ""
end

-- Prints the counts of the whole queue, and what to do next.
local function summarize(out, fleet, code, more)
  local summary = summary_of(checked(fleet:status()))
  code = code or code_of(summary)
  local fields = {
    { "orders", summary.orders }, { "counts", summary.counts }, { "looked", summary.looked },
    { "queue", fleet.queue }, { "exit_code", code },
  }
  for _, field in ipairs(more or {}) do table.insert(fields, #fields, field) end
  out:json("summary", fields)
  out:text(("%d orders%s"):format(summary.orders, counted(summary)))
  if summary.pending > 0 then
    out:note(("  crux fleet work  # sends the %d orders that are left"):format(summary.pending))
  end
  if summary.unknown > 0 then
    out:note("  crux fleet reconcile  # reads the orders whose outcome is unknown")
  end
  return code
end

-- --- the tasks ---

local tasks = {}

function tasks.enqueue(arguments, out)
  if not arguments.file then exit.fail(exit.USAGE, "expected a FILE of orders, found none") end
  local opened = session.open(arguments, { tokenless = true })
  local fleet = new_fleet(arguments, opened)
  local orders = read(arguments, opened, out)
  ask.show(out, {
    base_url = opened.base_url, account = { name = "that of the workers" }, count = orders.count,
    first = orders.first, journal = "queue " .. fleet.queue .. " of " .. fleet.redis.name,
  })
  if not arguments.yes then ask.confirm(("Have %d orders cancelled?"):format(orders.count)) end
  local next_order = input.each(orders)
  local report, err = fleet:enqueue(function()
    session.check(out)
    return next_order()
  end)
  if not report then
    exit.fail(exit.FAILED, err.message, "run the same again: no order is added twice")
  end
  out:json("summary", {
    { "added", report.added }, { "known", report.known }, { "exit_code", exit.OK },
  })
  out:text(("%d orders added, %d were there before"):format(report.added, report.known))
  return exit.OK
end

-- Updates the bar from time to time, by a connection of its own.
local function watcher(counter, bar)
  local due = 0
  return function()
    if core.now() < due then return end
    local status = counter:status()
    due = core.now() + COUNT
    if not status then return end
    local states = status.states
    bar:update(status.orders - states.queued - states.sending, status.orders, states)
  end
end

-- Why a worker ended early, as an exit code.
local function code_of_end(out, report)
  local count, _, number = system.signals()
  if count > 0 or out.broken then return exit.by_signal(number or 2) end
  local by = report.stopped_by
  if not report.stopped then return nil end
  out:warn(("crux: ended early (%s): %s"):format(report.stopped,
    type(by) == "table" and words.message(by) or tostring(by)))
  if type(by) == "table" and by.kind == "auth" then return exit.AUTH end
  if report.stopped == "redis" then return exit.FAILED end
  return nil
end

function tasks.work(arguments, out)
  -- a client that logs in by itself shares its token with the other workers
  local opened = session.open(arguments, {
    token_cache = Fleet.token_cache{
      redis = redis_url(arguments), ca_file = arguments.redis_ca_file,
    },
  })
  if opened.account.missing then
    exit.fail(exit.AUTH, opened.account.missing, "run crux login, or set CRUX_TOKEN")
  end
  local fleet, counter = new_fleet(arguments, opened), new_fleet(arguments, opened)
  out:note(("service   %s%s"):format(opened.base_url,
    opened.base_url == crux.PRODUCTION and " (production)" or ""))
  local bar = progress(out, 0)
  local watch, stopped = watcher(counter, bar), run.stopper(out, bar)
  local report = checked(fleet:work{
    concurrency = arguments.concurrency, rate = arguments.rate,
    until_empty = arguments.until_empty, unsafe = arguments.unsafe,
    stopped = function()
      watch()
      return stopped()
    end,
    on_result = function(_, order, result, err)
      run.print_order(out, run.row_of(order, result, err))
    end,
  })
  bar:clear()
  out.before = nil
  local code = code_of_end(out, report)
  if report.queued_again > 0 then
    out:note(("crux: %d orders were given back to the queue"):format(report.queued_again))
  end
  if report.unrecorded > 0 then
    out:warn(("crux: the outcome of %d orders could not be recorded: they become unknown"):format(
      report.unrecorded))
    return code or exit.FAILED
  end
  code = summarize(out, fleet, code, {
    { "worker", report.counts }, { "queued_again", report.queued_again },
    { "stopped", report.stopped },
  })
  counter:close()
  fleet:close()
  return code
end

function tasks.status(arguments, out)
  return summarize(out, new_fleet(arguments, session.open(arguments, { tokenless = true })))
end

function tasks.report(arguments, out)
  local fleet = new_fleet(arguments, session.open(arguments, { tokenless = true }))
  checked(fleet:results(function(row)
    if row.hint then row.hint = words.hint(row) end
    run.print_order(out, row)
    session.check(out)
  end))
  return summarize(out, fleet)
end

function tasks.reconcile(arguments, out)
  local opened = session.open(arguments)
  if opened.account.missing then
    exit.fail(exit.AUTH, opened.account.missing, "run crux login, or set CRUX_TOKEN")
  end
  local fleet = new_fleet(arguments, opened)
  local bar = progress(out, summary_of(checked(fleet:status())).unknown)
  local done, counts = 0, {}
  checked(fleet:reconcile{
    concurrency = arguments.concurrency, rate = arguments.rate, stopped = run.stopper(out, bar),
    on_wait = function(seconds)
      out:note(("waiting %.0f s: requests may be on the way until then"):format(seconds))
    end,
    on_result = function(uuid, shown, err)
      local state = shown and shown.state
      if state then counts[state] = (counts[state] or 0) + 1 end
      done = done + 1
      bar:update(done, math.max(done, bar.total), counts)
      run.print_order(out, {
        order_uuid = uuid, outcome = "unknown", looked = state, kind = err and err.kind,
        message = err and words.message(err), hint = err and words.hint(err),
      })
    end,
  })
  bar:clear()
  out.before = nil
  local count, _, number = system.signals()
  local summary = summary_of(checked(fleet:status()))
  return summarize(out, fleet, count > 0 and exit.by_signal(number)
    or summary.unknown > 0 and exit.UNKNOWN or exit.OK)
end

function command.run(arguments)
  if arguments.file and arguments.task ~= "enqueue" then
    exit.fail(exit.USAGE, ("expected no FILE for %s, found one"):format(arguments.task))
  end
  return tasks[arguments.task](arguments, output.new(arguments))
end

return command
