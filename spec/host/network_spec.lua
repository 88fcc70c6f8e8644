-- Cases that need a slow network, connections with the same local port, or an unusual kernel. A
-- response that was sent before a byte of the request arrived is refused.
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local network = require "spec.support.network"

teardown(fault.stop)

local PREAMBLE = [[
local core, fault, helper = require "crux.core", require "spec.support.fault", require "spec.helper"
local function call(server, skus)
  local list
  for i = 1, skus or 0 do
    list = list or {}
    list[i] = { supplier_uuid = helper.SUPPLIER }
  end
  local result, err = helper.check(core.cancel_order(helper.arguments(server, { skus = list, ca_file = fault.ca_file })))
  local answer = result or err
  print(answer.outcome, answer.kind or "-", answer.meta.reused and "reused" or "fresh", answer.meta.sends)
end
]]

-- What the script prints; without a network namespace the spec is pending.
local function run(script, environment)
  local said, why = network.run(PREAMBLE .. script .. "\nfault.stop()", environment)
  if not said then pending(why) end
  return said
end

describe("a response head sent before a byte of the request arrived", function()
  -- The second head is sent as soon as the client may be waiting for one.
  local HASTY = [[
    local server = fault.serve{ script = "conn:read(100) conn:write(shared.head) conn:sleep(0.1) conn:write(shared.head) conn:hold()",
      shared = { head = helper.response(204) } }
    network.slow(server.port, 2000)
    call(server, %d)
    call(server)
    print(#server:record().conns, server:record().conns[1].data:find("PATCH", 2, true))
  ]]

  for name, skus in pairs{ ["after a request that arrived"] = 0, ["after one that is still on its way"] = 60 } do
    it("is refused " .. name, function()
      assert.equal("accepted\t-\tfresh\t1\nunknown\tprotocol\treused\t1\n1\tnil", run(HASTY:format(skus)))
    end)
  end

  it("is distinguished from a response that is only fast", function()
    assert.equal("accepted\t-\tfresh\t1" .. ("\naccepted\t-\treused\t1"):rep(3), run[[
      local server = fault.serve{ script = "while conn:read(10) do conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') conn:request() end" }
      network.slow(server.port, 2000)
      for _ = 1, 4 do call(server) end
    ]])
  end)
end)

local TWICE = ("accepted\t-\tfresh\t1\naccepted\t-\treused\t1\n"):rep(2):sub(1, -2)

-- Calls of a process with a library preloaded before its libc.
local function run_with(name, uncounted)
  local object = forks.compile(name)
  finally(function() os.remove(object) end)
  local said = helper.child(PREAMBLE .. [[
    for _, tls in ipairs{ false, "good" } do
      local server = fault.serve{ tls = tls or nil, script = helper.ANSWER, shared = { answer = helper.response(204) } }
      call(server)
      call(server)
    end
    fault.stop()
  ]], {
    LD_PRELOAD = object, UNCOUNTED = uncounted, ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0",
  }, "timeout 20")
  assert.equal(TWICE, said)
end

it("without SIOCOUTQ every response is accepted", function() run_with("uncounted.c") end)

it("with SIOCOUTQ always 0 every response is accepted", function() run_with("uncounted.c", "1") end)

it("under a flood of signals a connection stays usable", function() run_with("interrupted.c") end)

it("a SIGPIPE that another thread consumes is not waited for", function() run_with("taken.c") end)

describe("two connections with the same local port", function()
  it("are distinguished by their remote end", function()
    local said = run[[
      local script = "while conn:request() do conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') " ..
        "if n == shared.stray then conn:sleep(0.02) conn:write('stray') end end"
      local first, second = fault.serve{ script = script, shared = { stray = 1 } }, fault.serve{ script = script }
      network.ports(1)
      call(first)
      call(second)
      core.sleep(0.05)
      call(second) -- what stands unread is on the other
      network.ports(2)
      call(first)
      call(second)
      call(first)
    ]]
    assert.equal("accepted\t-\tfresh\t1\naccepted\t-\tfresh\t1\naccepted\t-\treused\t1\naccepted\t-\tfresh\t1\n" ..
      "accepted\t-\treused\t1\naccepted\t-\treused\t1", said)
  end)

  it("are distinguished after one was reset", function()
    assert.equal("accepted\t-\tfresh\t1\naccepted\t-\tfresh\t1\naccepted\t-\treused\t1", run[[
      local reset = fault.serve{ script = "conn:request() conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') conn:sleep(0.02) conn:rst()" }
      local kept = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
      network.ports(1)
      call(reset)
      core.sleep(0.05)
      call(kept)
      call(kept)
    ]])
  end)
end)
