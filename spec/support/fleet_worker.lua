-- A worker of a fleet, for storms and specs, which kill or stop it.
--
--     lua fleet_worker.lua REDIS_URL [NAME=VALUE…]
--
-- The service and the token come from the environment. Values: `queue`, `timeout`, `rate`, `concurrency`, `until_empty`;
-- `control`: the script `claim` lets an order go again whose claim ran out, as a queue without crux's rule would.
-- `stop_at`: "claim", "attempt" or both: the process stops itself there once, as by SIGSTOP; `tell`: print each result.
-- Prints a line for each result, and "ended" with the counts.
local url, values = arg[1], {}
for i = 2, #arg do
  local name, value = arg[i]:match("^(.-)=(.*)$")
  values[name] = tonumber(value) or value
end

if values.control then require "spec.support.fleet_control" end

local Fleet = require "crux.fleet"
local Link = require "crux.fleet.link"
local crux = require "crux"
local system = require "crux.os"

local function stop_once(place)
  if not values.stop_at or not values.stop_at:find(place, 1, true) then return end
  values.stop_at = values.stop_at:gsub(place, "")
  local forks = require "spec.support.forks"
  forks.kill(forks.getpid(), 19) -- SIGSTOP
end

local claim = Link.claim
function Link:claim(free)
  local granted = claim(self, free)
  if granted[1] then stop_once "claim" end
  return granted
end

system.catch_signals()
local client = assert(crux.new{
  timeout = values.timeout or 2, headers = values.stop_at and function()
    stop_once "attempt"
    return {}
  end or nil,
})
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
