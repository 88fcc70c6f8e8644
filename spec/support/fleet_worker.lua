-- A worker of a fleet, for storms and specs, which kill or stop it.
--
--     lua fleet_worker.lua REDIS_URL [NAME=VALUE…]
--
-- The service and the token come from the environment. Values: `queue`, `timeout`, `rate`, `concurrency`, `until_empty`;
-- `control`: the script `claim` lets an order go again whose claim ran out, as a queue without crux's rule would.
-- Prints a line for each result, and "ended" with the counts.
local url, values = arg[1], {}
for i = 2, #arg do
  local name, value = arg[i]:match("^(.-)=(.*)$")
  values[name] = tonumber(value) or value
end

if values.control then
  local scripts = require "crux.fleet.scripts"
  local rule = "if record.state == 'queued' then"
  local from, to = scripts.claim:find(rule, 1, true)
  scripts.claim = scripts.claim:sub(1, from - 1)
    .. "if record.state == 'queued' or record.state == 'sending' and record.claim ~= id then"
    .. scripts.claim:sub(to + 1)
end

local Fleet = require "crux.fleet"
local crux = require "crux"
local system = require "crux.os"

system.catch_signals()
local client = assert(crux.new{ timeout = values.timeout or 2 })
local fleet = assert(Fleet.new{ redis = url, client = client, queue = values.queue })
local report, err = fleet:work{
  rate = values.rate, concurrency = values.concurrency, until_empty = values.until_empty ~= nil,
  on_result = values.tell and function(_, arguments, result, failure)
    print(arguments.order_uuid, (result or failure).outcome, failure and failure.kind or "")
    io.stdout:flush()
  end or nil,
  stopped = function() return system.signals() > 0 and "once" or nil end,
}
if not report then
  print("failed", tostring(err))
  os.exit(1)
end
print("ended", report.counts.accepted, report.unrecorded, report.stopped or "-", tostring(report.stopped_by or "-"))
