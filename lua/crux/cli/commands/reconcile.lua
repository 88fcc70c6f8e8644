--- crux reconcile: reads the orders of a bulk run whose outcome is unknown.
-- @module crux.cli.commands.reconcile
local flags = require "crux.cli.flags"
local journaled = require "crux.cli.journaled"
local output = require "crux.cli.output"
local run = require "crux.cli.run"

local command = {
  summary = "read the orders of a bulk run whose outcome is unknown",
  description = "Reads the orders whose outcome is unknown, and records in the journal what "
    .. "they show: cancelled, partial, open or closed. It waits until no request can be on the "
    .. "way any more. An order that is open proves nothing: the supplier may still confirm. "
    .. "Ends with 0 if no order is unknown or open any more, else with 3.",
}

function command.configure(parser)
  parser:argument("journal", "the journal"):argname "JOURNAL"
  run.configure(parser)
  flags.service(parser, { host = false })
end

function command.run(arguments)
  local out = output.new(arguments)
  local journal = journaled.open(arguments.journal, true)
  return run.look(journaled.session(arguments, journal), out, journal, arguments)
end

return command
