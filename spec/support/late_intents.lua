-- The command, as if it had no intents: an order's is written with its outcome. It shows that the
-- kill storm notices orders that are sent twice.
local Journal = require "crux.cli.journal"

local intend, conclude = Journal.intend, Journal.conclude

function Journal.intend() return true end

function Journal:conclude(index, fields)
  if fields.outcome == "not_started" then return true end
  local ok, message = intend(self, { index })
  if not ok then return nil, message end
  return conclude(self, index, fields)
end

os.exit(require "crux.cli"(arg))
