-- How nginx is woken when calls complete: its worker serves other requests while calls wait, in
-- every wakeup mode. This does not depend on the Lua that runs the specs (#tree).
local cjson = require("cjson").new()
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local nginx = require "spec.support.nginx"
local process = require "spec.support.process"
local resty = require "spec.support.resty"

local quote, chunk, times, slowest = resty.quote, resty.chunk, resty.times, resty.slowest
local missing = resty.missing()

after_each(resty.stop_failed)
teardown(fault.stop)

describe("crux.resty and nginx's event loop #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local server, sandbox

  setup(function()
    sandbox = process.sandbox{ orders = 500, plain = true }
  end)

  teardown(function()
    sandbox:close()
  end)

  for _, mode in ipairs(resty.MODES) do
    it("serves other requests while 100 calls wait, wakeup by " .. mode, function()
      server = resty.start{ mode = mode }
      -- a call that blocked the worker would hold the others up for 3 s
      local arguments = resty.arguments(sandbox, sandbox.orders[1], "delay=3000", { max_connections = 100 })
      local answers = resty.begin(sandbox, times(100, { body = chunk("get_order", arguments) }))
      local static = server:ask(times(100, { path = "/static" }))
      assert.is_true(slowest(static) < 1.5, "static took " .. slowest(static))
      answers = answers()
      for _, answer in ipairs(answers) do
        assert.equal(200, answer.status, answer.body)
        assert.equal("accepted", cjson.decode(answer.body).result.outcome)
      end
      assert.is_true(slowest(answers) < 20, "the slowest took " .. slowest(answers))
      resty.stop()
    end)
  end

  it("uses no processor time and one thread for 500 calls that wait", function()
    server = resty.start()
    local held = fault.serve{ backlog = 1024, script = [[
      conn:request()
      while not shared.go do conn:sleep(0.2) end
      conn:write("HTTP/1.1 204 X\r\n\r\n")
    ]] }
    local arguments = helper.arguments(held, { timeout = 60, max_connections = 500 })
    local answers = server:begin(times(500, { body = chunk("cancel_order", arguments) }), 500)
    for _ = 1, 200 do
      if held:record().requests == 500 then break end
      os.execute("sleep 0.1")
    end
    local worker = server:workers()[1]
    local used, slept, threads = nginx.usage(worker)
    if used then
      -- in the quietest of several intervals: at first, nginx still takes its requests
      local least, fewest
      for _ = 1, 10 do
        os.execute("sleep 2")
        local used_now, slept_now
        used_now, slept_now, threads = nginx.usage(worker)
        least, fewest = used_now - used, slept_now - slept
        used, slept = used_now, slept_now
        if least < 0.1 and fewest < 200 then break end
      end
      assert.is_true(least < 0.1, ("expected less than 5 %% of a core, found %.2f s in 2 s"):format(least))
      -- polling would wake the worker more often than that, however little each time takes
      assert.is_true(fewest < 200, ("woken %d times in 2 s"):format(fewest))
      assert.equal(2, threads)
    end
    assert.equal(500, held:record().requests)
    held:set{ go = true }
    for _, answer in ipairs(answers()) do assert.equal("accepted", cjson.decode(answer.body).result.outcome) end
    held:close()
    resty.stop()
  end)

  it("works when the application has used up its timers", function()
    server = resty.start{ mode = "socket", http = "lua_max_running_timers 1; lua_max_pending_timers 10;",
      server = [[location = /exhaust { content_by_lua_block {
        ngx.timer.at(0, function() ngx.sleep(6) end)
        ngx.sleep(0.05)
        ngx.print("done")
      } }]] }
    server:ask{ { path = "/exhaust" } }
    local body = chunk("get_order", resty.arguments(sandbox, sandbox.orders[1], "delay=200"))
    local answers = server:ask(times(20, { body = body }), 20)
    for _, answer in ipairs(answers) do assert.equal("accepted", cjson.decode(answer.body).result.outcome) end
    assert.is_true(slowest(answers) < 4, "the slowest took " .. slowest(answers))
    local log = server:close()
    assert.is_truthy(log:find("lua_max_running_timers are not enough", 1, true))
  end)

  it("serves other requests during the pause before a retry", function()
    server = resty.start()
    local answers = resty.begin(sandbox, { { body = chunk("cancel_order",
      resty.arguments(sandbox, sandbox.orders[1], "status=429,retry_after=3", { retries = 1 })) } })
    assert.is_true(slowest(server:ask(times(20, { path = "/static" }))) < 1.5)
    local answer = answers()[1]
    assert.equal(2, cjson.decode(answer.body).err.meta.attempts)
    assert.is_true(answer.seconds > 2.9)
    resty.stop()
  end)

  it("serves other requests during pending:wait and client:cancel_orders", function()
    server = resty.start()
    local options = { token = sandbox.tokens.retailer, base_url = sandbox.base_url .. "/~delay=3000" }
    local answers = resty.begin(sandbox, { { body = [[
      local client = crux.new]] .. quote(options) .. [[

      local order = ]] .. quote(sandbox.orders[450]) .. [[

      local pending = client:submit("get_order", { order_uuid = order })
      local first = { pending:wait(0.05) }
      local done, result = pending:wait()
      local report = client:cancel_orders({ { order_uuid = order }, { order_uuid = "x" } }, { stop_on = {} })
      return { first = first[1], done = done, outcome = result.outcome, counts = report.counts }
    ]] } })
    assert.is_true(slowest(server:ask(times(50, { path = "/static" }))) < 1.5)
    local answer = cjson.decode(answers()[1].body)
    assert.is_false(answer.first)
    assert.is_true(answer.done)
    assert.equal("accepted", answer.outcome)
    assert.equal(1, answer.counts.not_sent)
    assert.equal(2, answer.counts.accepted + answer.counts.rejected + answer.counts.not_sent)
    resty.stop()
  end)

  it("gives each call its own result, in two workers with a thread each", function()
    server = resty.start{ workers = 2 }
    local requests, seen = {}, {}
    for i = 1, 200 do
      requests[i] = { body = ([[
        local result, err = crux.get_order(%s)
        return { worker = ngx.worker.pid(), raw = result and result.raw or tostring(err) }
      ]]):format(quote(resty.arguments(sandbox, sandbox.orders[i], "delay=" .. i % 7 * 10))) }
    end
    for i, answer in ipairs(server:ask(requests, 40)) do
      local said = cjson.decode(answer.body)
      assert.is_truthy(said.raw:find(sandbox.orders[i], 1, true), said.raw)
      seen[said.worker] = true
    end
    local workers = server:workers()
    assert.equal(2, #workers)
    for _, worker in ipairs(workers) do
      assert.is_true(seen[worker])
      assert.equal(2, select(3, nginx.usage(worker)) or 2)
    end
    resty.stop()
  end)

  it("works with lua_code_cache off", function()
    for _, mode in ipairs(resty.MODES) do
      server = resty.start{ code_cache = "off", mode = mode }
      local answers = server:ask(times(40, { body = chunk("get_order", resty.arguments(sandbox, sandbox.orders[1], "delay=50")) }), 10)
      for _, answer in ipairs(answers) do
        assert.equal(200, answer.status, answer.body .. server:log())
        assert.equal("accepted", cjson.decode(answer.body).result.outcome)
      end
      local log = server:close()
      assert.is_nil(log:find("exited on signal", 1, true), log)
    end
  end)
end)
