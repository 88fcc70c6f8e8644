-- Calls in flight when nginx is told to reload, quit or stop.
-- This does not depend on the Lua that runs the specs (#tree).
local cjson = require("cjson").new()
local core = require "crux.core"
local fault = require "spec.support.fault"
local process = require "spec.support.process"
local resty = require "spec.support.resty"

local chunk, times = resty.chunk, resty.times
local missing = resty.missing()

after_each(resty.stop_failed)
teardown(fault.stop)

describe("crux.resty when nginx is reloaded or stopped #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local server, sandbox

  setup(function()
    sandbox = process.sandbox{ orders = 500, plain = true }
  end)

  teardown(function()
    sandbox:close()
  end)

  it("finishes the calls in flight at QUIT", function()
    server = resty.start()
    local began = core.now()
    local body = chunk("get_order", resty.arguments(sandbox, sandbox.orders[1], "delay=1500"))
    local answers = resty.begin(sandbox, times(20, { body = body }))
    server:signal("QUIT")
    for _, answer in ipairs(answers()) do
      assert.equal(200, answer.status)
      assert.equal("accepted", cjson.decode(answer.body).result.outcome)
    end
    resty.stop()
    assert.is_true(core.now() - began < 30, "quitting took " .. core.now() - began)
  end)

  it("ends at worker_shutdown_timeout with calls in flight at QUIT", function()
    for _, mode in ipairs(resty.MODES) do
      server = resty.start{ mode = mode, shutdown = "1s" }
      local began = core.now()
      local body = chunk("get_order", resty.arguments(sandbox, sandbox.orders[1], "delay=60000", { timeout = 90 }))
      local answers = resty.begin(sandbox, times(20, { body = body }))
      resty.stop()
      assert.is_true(core.now() - began < 30, "quitting took " .. core.now() - began)
      for _, answer in ipairs(answers()) do assert.is_true(answer.status == 0 or answer.status >= 500) end
    end
  end)

  -- `make reloads` runs it for half a minute. Connections are not kept alive: a request that arrives while nginx closes
  -- one gets no response.
  it("loses no call in reloads of two workers", function()
    local seconds = tonumber(os.getenv "RELOADS") or 2
    local orders = process.sandbox{ orders = 200 * seconds, plain = true }
    server = resty.start{ workers = 2, http = "keepalive_timeout 0;" }
    local requests = {}
    -- 10 at a time of 50 ms each: they last at least as long as the reloads do
    for i, order in ipairs(orders.orders) do
      requests[i] = { body = chunk("cancel_order", {
        token = orders.tokens.retailer, base_url = orders.base_url .. "/~delay=50", order_uuid = order, retries = 0,
      }) }
    end
    local answers = server:begin(requests, 10)
    for _ = 1, seconds do
      os.execute("sleep 1")
      server:signal("HUP")
    end
    answers = answers()
    local cancels = orders:record().cancels
    assert.equal(200 * seconds, #answers)
    for i, answer in ipairs(answers) do
      assert.equal(200, answer.status, answer.body)
      local said = cjson.decode(answer.body)
      assert.equal("accepted", said.result and said.result.outcome, said.text)
      assert.same({ received = 1, executed = 1, answers = { 204 } }, cancels[orders.orders[i]])
    end
    for _ = 1, 100 do
      if #server:workers() == 2 then break end
      os.execute("sleep 0.1")
    end
    assert.equal(2, #server:workers(), "old workers are still there")
    resty.stop()
    orders:close()
  end)

  it("ends at once with calls in flight at TERM", function()
    server = resty.start()
    local body = chunk("get_order",
      resty.arguments(sandbox, sandbox.orders[1], "delay=60000", { timeout = 90, max_connections = 50 }))
    local answers = resty.begin(sandbox, times(50, { body = body }))
    local began = core.now()
    local log, status = server:close("TERM")
    assert.is_true(core.now() - began < 30, "it took " .. core.now() - began)
    answers()
    resty.check_log(log, status)
  end)
end)
