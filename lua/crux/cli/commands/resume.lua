--- crux resume: continues a bulk run from its journal.
-- @module crux.cli.commands.resume
local ask = require "crux.cli.ask"
local bulk = require "crux.cli.bulk"
local crux = require "crux"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local journaled = require "crux.cli.journaled"
local output = require "crux.cli.output"
local run = require "crux.cli.run"

local command = {
  summary = "continue a bulk run",
  description = "Continues a bulk run from its journal: sends the orders that were not sent, or "
    .. "were refused for want of a token or because of too many requests. An order whose "
    .. "outcome is unknown is never sent again: crux reconcile reads it. Service, generation "
    .. "and account are those of the journal.",
}

function command.configure(parser)
  parser:argument("journal", "the journal"):argname "JOURNAL"
  parser:flag("--resend-open", "also send the orders that crux reconcile found open: only if "
    .. "you know that they were not received")
  parser:flag("-y --yes", "go on without a question")
  run.configure(parser)
  flags.service(parser, { host = false })
end

-- The orders that would be sent: how many, and the first.
local function facts_of(journal, opened, arguments)
  local first = {}
  for index = 1, journal:count() do
    local state = journal:state(index)
    if #first < 3 and (state.sends or arguments.resend_open and state.name == "open") then
      local order, message = journal:arguments(index)
      if not order then exit.fail(exit.USAGE, journal.path .. ": " .. message) end
      first[#first + 1] = order.order_uuid
    end
  end
  return {
    base_url = opened.base_url, account = opened.account, first = first, journal = journal.path,
    count = bulk.pending(journal, arguments.resend_open),
  }
end

function command.run(arguments)
  local out = output.new(arguments)
  local journal = journaled.open(arguments.journal, true)
  if bulk.pending(journal, arguments.resend_open) == 0 then return run.nothing(out, journal) end
  local opened = journaled.session(arguments, journal)
  local facts = facts_of(journal, opened, arguments)
  local is_asked = opened.base_url == crux.PRODUCTION and not arguments.yes
  ask.show(out, facts, is_asked)
  ask.warn_of_expiry(out, opened.account, facts.count, run.concurrency(arguments), arguments.rate)
  if is_asked then ask.confirm(("Cancel %d orders?"):format(facts.count)) end
  return run.send(opened, out, journal, arguments)
end

return command
