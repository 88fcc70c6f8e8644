-- Runs a journal of many orders as the command does, for specs that fail or kill it.
--
--     lua bulk.lua create|resume|reconcile JOURNAL [ORDERS]
--
-- ORDERS is a file with a UUID in each line. The service and the token come from the environment.
-- Prints the exit code of what the journal says, or the reason why it cannot be used.
local crux = require "crux"
local bulk = require "crux.cli.bulk"
local Journal = require "crux.cli.journal"
local reconcile = require "crux.cli.reconcile"
local system = require "crux.os"
local tally = require "crux.cli.tally"

local task, path, orders = arg[1], arg[2], arg[3]
local options = {
  timeout = tonumber(os.getenv "BULK_TIMEOUT" or 30),
  concurrency = tonumber(os.getenv "BULK_CONCURRENCY" or 8),
  resend_open = os.getenv "BULK_RESEND_OPEN" ~= nil,
  stop_after = false,
}

local function uuids()
  local next_line = io.lines(orders)
  return function()
    local uuid = next_line()
    return uuid and { order_uuid = uuid }
  end
end

function options.stopped()
  local count = system.signals()
  return count > 1 and "twice" or count > 0 and "once" or nil
end

function options.signal() return (select(2, system.signals())) end

system.catch_signals()
local journal, message, why
if task == "create" then
  journal, message, why = Journal.create(path, { base_url = os.getenv "CRUX_BASE_URL", api = "v1" },
    uuids())
else
  journal, message, why = Journal.open(path, { lock = true })
end
if not journal then
  io.stderr:write(message, "\n")
  print(why)
  os.exit(2)
end
local client = assert(crux.new{ timeout = options.timeout })
local result = assert((task == "reconcile" and reconcile or bulk.run)(journal, client, options))
if result.failure then io.stderr:write(result.failure, "\n") end
journal:close()
client:close()
local code = tally.exit_code(tally.summary(journal))
print(code)
os.exit(code)
