-- poll.lua: instructions of one poll of a call in flight, and of one step when nothing is due, by how many are in flight.
local LUA = os.getenv("TEST_LUA") or "lua5.4"
local TIMES = 1000
local LIMIT = 1.1 -- how much more with a thousand times as many in flight

-- Runs under callgrind, which counts inside `measured` only.
local function measure(operation, in_flight, base_url)
  local crux, core, forks = require "crux", require "crux.core", require "spec.support.forks"
  local client = assert(crux.new{ token = "poll-bench-token", base_url = base_url, timeout = 600, max_connections = 4 })
  local calls = {}
  for i = 1, in_flight do
    calls[i] = client:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
  end
  core.sleep(1)
  local call = calls[math.ceil(in_flight / 2)]
  collectgarbage()
  collectgarbage("stop")
  forks.measured(operation == "poll" and function() for _ = 1, TIMES do call:poll() end end
    or function() for _ = 1, TIMES do client:step() end end)
  client:close()
end

if arg[1] == "child" then
  measure(arg[2], tonumber(arg[3]), arg[4])
  return
end

local callgrind = require "spec.bench.callgrind"
local fault = require "spec.support.fault"
local server = fault.serve{ script = "conn:request() conn:hold()" }

local function count(operation, in_flight)
  local command = ("%s spec/bench/poll.lua child %s %d %s"):format(LUA, operation, in_flight,
    server.base_url)
  return callgrind.count(command, callgrind.MEASURED).total / TIMES
end

local ok, why = pcall(function()
  print("instructions, by calls in flight")
  print(("%-8s %10s %10s"):format("", "10", "10,000"))
  for _, operation in ipairs{ "poll", "step" } do
    local few, many = count(operation, 10), count(operation, 10000)
    print(("%-8s %10.0f %10.0f"):format(operation, few, many))
    assert(many < few * LIMIT, ("expected a %s to cost the same however many are in flight"):format(operation))
  end
end)
fault.stop()
if not ok then
  io.stderr:write("poll: ", tostring(why), "\n")
  os.exit(1)
end
