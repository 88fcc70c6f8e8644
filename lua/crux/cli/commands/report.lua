--- crux report: prints what a journal says of each order.
-- @module crux.cli.commands.report
local flags = require "crux.cli.flags"
local journaled = require "crux.cli.journaled"
local output = require "crux.cli.output"
local run = require "crux.cli.run"
local session = require "crux.cli.session"
local system = require "crux.os"
local tally = require "crux.cli.tally"

local command = {
  summary = "print what came of the orders of a bulk run",
  description = "Prints what the journal of a bulk run says of each order, and changes nothing. "
    .. "The exit code is that of the run.",
}

function command.configure(parser)
  parser:argument("journal", "the journal"):argname "JOURNAL"
  flags.output(parser)
end

function command.run(arguments)
  local out = output.new(arguments)
  local journal = journaled.open(arguments.journal, false)
  system.catch_signals()
  run.report(out, journal, function() session.check(out) end)
  local summary = tally.summary(journal)
  local code = tally.exit_code(summary)
  journal:close()
  run.summarize(out, summary, arguments.journal, code)
  session.check(out)
  return code
end

return command
