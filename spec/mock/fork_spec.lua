-- A mock after fork(): a call of the parent is aborted in the child, as with a real client, and
-- the child's own calls work. Beside a worker with real calls in flight.
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local object = forks.compile("fork.c")

teardown(function()
  os.remove(object)
  fault.stop()
end)

describe("a mock #fork", function()
  it("aborts its parent's calls in a forked child, and goes on in both", function()
    local server = fault.serve{ script = "conn:request() conn:hold()" }
    local printed = helper.child(([[
      local crux, forks = require "crux", package.loadlib(%q, "luaopen_fork")()
      local order = { order_uuid = %q }
      local real = crux.new{ token = "a-token-0000000", base_url = %q, proxy = "" }
      local held = assert(real:submit("cancel_order", order))
      local mock = require "crux.mock".new{ answers = {
        cancel_order = function() return "timeout_sent" end,
        get_order = function() return { status = 200 } end,
      } }
      local fast, slow = mock:submit("get_order", order), mock:submit("cancel_order", order)
      local function told(done, result, err) return tostring(result and result.status or err and err.kind or done) end
      local pid = forks.fork()
      -- the first has its answer, the second is in flight
      local words = { told(fast:poll()), told(slow:poll()) }
      words[3] = told(mock:submit("get_order", order):poll())
      words[4] = told(true, mock:get_order(order))
      words[5] = tostring(mock:step() ~= nil)
      words[6] = told(mock:submit("cancel_order", order):wait(1))
      local line = table.concat(words, " ")
      if pid == 0 then
        local file = io.open(%q, "w")
        file:write(line)
        file:close()
        forks._exit(0)
      end
      forks.waitpid(pid, 10)
      held:abort()
      print(line)
      print(io.open(%q):read("*a"))
    ]]):format(object, helper.ORDER, server.base_url, object .. ".out", object .. ".out"))
    os.remove(object .. ".out")
    server:close()
    assert.equal("200 timeout 200 200 true false\n200 aborted 200 200 true false", printed)
  end)
end)
