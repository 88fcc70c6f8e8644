--- What resume, reconcile and report have in common: a journal that is there.
-- @module crux.cli.journaled
local Journal = require "crux.cli.journal"
local exit = require "crux.cli.exit"
local session = require "crux.cli.session"

local journaled = {}

--- Opens a journal. One that cannot be used ends the command.
-- @tparam string path
-- @tparam boolean lock whether it is written to
function journaled.open(path, lock)
  local journal, message, why = Journal.open(path, { lock = lock })
  if journal then return journal end
  local advice = why == "incomplete" and "nothing was sent: delete it, and start again" or nil
  exit.fail(exit.USAGE, message, advice)
end

--- A session with the service, generation and account of a journal.
-- @tparam table arguments of the command line
-- @tparam crux.cli.journal journal
function journaled.session(arguments, journal)
  local header = journal.header
  local opened = session.open(arguments, { base_url = header.base_url, api = header.api })
  local account = opened.account
  if account.missing then
    exit.fail(exit.AUTH, account.missing, "run crux login, or set CRUX_TOKEN")
  end
  if header.account and account.name and header.account ~= account.name then
    exit.fail(exit.AUTH, ("the journal is of the account %s, and %s is logged in"):format(
      header.account, account.name), "crux login --username " .. header.account)
  end
  return opened
end

return journaled
