-- Where in nginx a call can be made, and what happens to it when its light thread, request or HTTP
-- client ends. This does not depend on the Lua that runs the specs (#tree).
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local process = require "spec.support.process"
local resty = require "spec.support.resty"

local quote, chunk, times = resty.quote, resty.chunk, resty.times
local missing = resty.missing()

after_each(resty.stop_failed)
teardown(fault.stop)

describe("crux.resty in nginx's phases and light threads #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local server, sandbox, upstream

  setup(function()
    sandbox = process.sandbox{ orders = 500, plain = true }
    upstream = fault.serve{ script = helper.ANSWER }
  end)

  teardown(function()
    sandbox:close()
    upstream:close()
  end)

  it("makes calls in phases that can wait, and names the phase in others", function()
    local arguments = quote(resty.arguments(sandbox, sandbox.orders[1]))
    local function attempt(keep)
      return ("local ok, r, e = pcall(require('crux.resty').get_order, %s) %s"):format(arguments, keep)
    end
    local KEEP = "ngx.ctx.found = tostring(ok and (r and r.outcome or e) or r)"
    local SAY = " content_by_lua_block { ngx.print(ngx.ctx.found) }"
    local function note(phase)
      return attempt("require('ngx.errlog').raw_log(ngx.NOTICE, '" .. phase .. "| ' .. tostring(r))")
    end
    server = resty.start{
      init = note "init",
      http = "init_worker_by_lua_block { " .. note "init_worker" .. [[ ngx.timer.at(0, function()
        ]] .. attempt "require('ngx.errlog').raw_log(ngx.NOTICE, 'timer| ' .. r.outcome)" .. " end) }",
      server = ("location = /rewrite { rewrite_by_lua_block { %s } %s }\n"):format(attempt(KEEP), SAY)
        .. ("location = /access { access_by_lua_block { %s } %s }\n"):format(attempt(KEEP), SAY)
        .. ("location = /set { set_by_lua_block $x { %s return ngx.ctx.found } %s }\n"):format(attempt(KEEP), SAY)
        .. ([[location = /filters {
          return 200 'x';
          header_filter_by_lua_block { %s } body_filter_by_lua_block { %s } log_by_lua_block { %s }
        }]]):format(note "header_filter", note "body_filter", note "log"),
    }
    for _, phase in ipairs{ "rewrite", "access" } do
      assert.equal("accepted", server:ask{ { path = "/" .. phase } }[1].body)
    end
    assert.is_truthy(server:ask{ { path = "/set" } }[1].body:find("found 'set': call it in rewrite_by_lua", 1, true))
    server:ask{ { path = "/filters" } }
    local log = server:close()
    for _, phase in ipairs{ "init", "init_worker", "header_filter", "body_filter", "log" } do
      local said = log:match("%f[%w_]" .. phase .. "| ([^\n]*)")
      assert.is_truthy(said and said:find("found '" .. phase .. "': ", 1, true), phase .. ": " .. tostring(said))
      assert.is_truthy(said:find("ngx.timer.at", 1, true), said)
    end
    assert.equal("accepted", log:match("timer| (%a+)"))
  end)

  it("makes clients before workers are forked, and raises errors on misuse", function()
    local options = quote{ token = sandbox.tokens.retailer, base_url = sandbox.base_url }
    server = resty.start{ workers = 2, init = "client = require('crux.resty').new" .. options }
    local answer = server:run("local result, err = client:get_order" .. quote{ order_uuid = sandbox.orders[1] } .. [[
      local made, why = crux.new{ timeout = 0 }
      local _, no_table = pcall(crux.cancel_order)
      return { outcome = result and result.outcome, text = tostring(err), kind = why.kind, no_table = no_table }
    ]])
    assert.equal("accepted", answer.outcome, answer.text)
    assert.equal("invalid", answer.kind)
    assert.is_truthy(answer.no_table:find("expected a table of arguments, found nothing", 1, true))
    resty.stop()
  end)

  it("lets a token function yield", function()
    server = resty.start()
    local answer = server:run([[
      local client = crux.new{ token = function() ngx.sleep(0.01) return "]] .. sandbox.tokens.retailer .. [[" end }
      local result, err = client:get_order]] .. quote{ base_url = sandbox.base_url, order_uuid = sandbox.orders[1] } .. [[

      return { result = result, text = tostring(err) }
    ]])
    assert.equal("accepted", answer.result and answer.result.outcome, answer.text)
    resty.stop()
  end)

  it("lets a headers function yield, and sends what it returns", function()
    server = resty.start()
    local there = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
    local answer = server:run([[
      local base_url, order_uuid = "]] .. there.base_url .. '", "' .. helper.ORDER .. [["
      local client = crux.new{ token = "t", base_url = base_url, headers = function(attempt)
        ngx.sleep(0.01)
        return { ["X-Id"] = attempt.endpoint .. attempt.attempt }
      end }
      local order = { order_uuid = order_uuid, headers = { ["X-Call"] = "1" } }
      local result, err = client:cancel_order(order)
      local closing
      closing = crux.new{ token = "t", base_url = base_url, headers = function()
        ngx.sleep(0.05)
        return {}
      end }
      ngx.thread.spawn(function() ngx.sleep(0.01) closing:close() end)
      local _, aborted = closing:cancel_order{ order_uuid = order_uuid }
      order.headers = function() ngx.sleep(0.01) error("gone", 0) end
      local _, invalid = client:cancel_order(order)
      return {
        outcome = result and result.outcome, text = tostring(err),
        aborted = tostring(aborted), invalid = tostring(invalid),
      }
    ]])
    assert.equal("accepted", answer.outcome, answer.text)
    assert.equal("not_sent (aborted): aborted by the caller", answer.aborted)
    assert.equal("not_sent (invalid): headers: the headers function raised an error: gone",
      answer.invalid)
    local sent = helper.new_requests(there)
    assert.equal(1, #sent)
    assert.is_truthy(sent[1]:find("\r\nX-Id: cancel_order1\r\n", 1, true))
    assert.is_truthy(sent[1]:find("\r\nX-Call: 1\r\n", 1, true))
    there:close()
    resty.stop()
  end)

  it("asks a token function that yields once, however many light threads were refused", function()
    server = resty.start()
    local revoking = fault.serve{ script = [[
      local request = conn:request()
      while request do
        local token = request.headers.authorization:match("Token (%S+)")
        if token == "new" then conn:write("HTTP/1.1 204 No Content\r\n\r\n")
        else conn:write("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n") end
        request = conn:request()
      end
    ]] }
    local answer = server:run([[
      local questions, counts = {}, { accepted = 0 }
      local client = crux.new{ base_url = "]] .. revoking.base_url .. [[", token = function(refused)
        if not refused then return #questions == 0 and "old" or "stale" end
        questions[#questions + 1] = refused
        ngx.sleep(0.2)
        return "new"
      end }
      local threads = {}
      for i = 1, 8 do
        threads[i] = ngx.thread.spawn(function()
          local result, err = client:cancel_order{ order_uuid = "]] .. helper.ORDER .. [[" }
          local outcome = result and result.outcome or tostring(err)
          counts[outcome] = (counts[outcome] or 0) + 1
        end)
      end
      for i = 1, 8 do ngx.thread.wait(threads[i]) end
      return { questions = questions, counts = counts }
    ]])
    assert.same({ questions = { "old" }, counts = { accepted = 8 } }, answer)
    revoking:close()
    resty.stop()
  end)

  it("goes on with a call after an error of on_event, and tells of it", function()
    server = resty.start()
    local answer = server:run([[
      local arguments = ]] .. quote(resty.arguments(sandbox, sandbox.orders[1], "status=429,retry_after=0")) .. [[

      arguments.on_event = function(event) if event.name == "retry" then error("mine", 0) end end
      local _, err = crux.get_order(arguments)
      return { err.status, err.meta.attempts, err.meta.event_error }
    ]])
    assert.same({ 429, 3, "mine" }, answer)
    resty.stop()
  end)

  it("aborts the calls of light threads that are killed", function()
    for _, mode in ipairs(resty.MODES) do
      server = resty.start{ mode = mode }
      upstream:set({ answer = helper.response(204) }, true)
      local held = fault.serve{ script = "conn:hold()" }
      local answer = server:run([[
        local slow, fast = ]] .. quote(helper.arguments(held)) .. ", " .. quote(helper.arguments(upstream)) .. [[

        for i = 1, 30 do
          local thread = ngx.thread.spawn(function() crux.cancel_order(slow) end)
          ngx.sleep(0.002)
          ngx.thread.kill(thread)
          collectgarbage()
        end
        -- some complete just as they are killed
        for i = 1, 100 do
          local thread = ngx.thread.spawn(function() crux.cancel_order(fast) end)
          ngx.sleep(i % 3 / 1000)
          ngx.thread.kill(thread)
          if i % 7 == 0 then collectgarbage() end
        end
        collectgarbage()
        collectgarbage()
        local result, err = crux.cancel_order(fast)
        return { outcome = result and result.outcome or tostring(err) }
      ]])
      assert.equal("accepted", answer.outcome)
      resty.wait_until_closed(held)
      held:close()
      resty.stop()
    end
  end)

  it("aborts the calls of clients that disconnect", function()
    server = resty.start()
    local slow = { body = chunk("get_order", resty.arguments(sandbox, sandbox.orders[1], "delay=500")), give_up = 0.1 }
    for _, answer in ipairs(server:ask(times(60, slow), 30)) do assert.equal(0, answer.status) end
    os.execute("sleep 0.5")
    local answer = server:run(chunk("get_order", resty.arguments(sandbox, sandbox.orders[1])))
    assert.equal("accepted", answer.result.outcome)
    resty.stop()
  end)

  it("aborts the calls of other light threads when the handler raises an error", function()
    for _, mode in ipairs(resty.MODES) do
      server = resty.start{ mode = mode }
      local held = fault.serve{ script = "conn:request() conn:hold()" }
      local raising = { body = ([[
        for i = 1, 3 do ngx.thread.spawn(function() crux.cancel_order(%s) end) end
        ngx.sleep(0.4) -- for all requests to be sent
        error("mine", 0)
      ]]):format(quote(helper.arguments(held))) }
      for _, answer in ipairs(server:ask(times(10, raising), 5)) do assert.equal(500, answer.status) end
      local answer = server:run("collectgarbage() collectgarbage() " .. chunk("get_order", resty.arguments(sandbox, sandbox.orders[1])))
      assert.equal("accepted", answer.result.outcome)
      resty.wait_until_closed(held)
      assert.equal(30, held:record().requests)
      held:close()
      local log, status = server:close()
      assert.is_truthy(log:find("lua entry thread aborted: runtime error: mine", 1, true))
      resty.check_log(log:gsub("[^\n]*runtime error: mine[^\n]*", ""), status)
    end
  end)

  it("finishes a call whose client disconnects, unless lua_check_client_abort is set", function()
    local finish = [[ content_by_lua_block {
      ngx.req.read_body()
      _G.crux = require "crux.resty"
      local said = assert(loadstring(ngx.req.get_body_data()))()
      require("ngx.errlog").raw_log(ngx.NOTICE, ngx.var.uri .. " " .. said.result.outcome)
    } }]]
    server = resty.start{ server = "location = /kept { " .. finish .. " location = /left { lua_check_client_abort on; " .. finish }
    for i, path in ipairs{ "/kept", "/left" } do
      local body = chunk("cancel_order", resty.arguments(sandbox, sandbox.orders[500 - i], "delay=500"))
      assert.equal(0, server:ask{ { path = path, body = body, give_up = 0.2 } }[1].status)
    end
    resty.wait_until(function() return server:log():find("/kept accepted", 1, true) end, "/kept accepted")
    os.execute("sleep 1")
    assert.is_nil(server:log():find("/left accepted", 1, true))
    resty.stop()
  end)
end)
