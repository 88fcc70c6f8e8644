-- Inside nginx: the same calls with the same outcome, and a worker that goes on while they wait, whatever becomes of the
-- light thread, the client or the worker itself. The same calls are compared with those of the Lua that runs this; the rest
-- does not depend on it (#tree).
local cjson = require("cjson").new()
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local nginx = require "spec.support.nginx"
local process = require "spec.support.process"

local function quote(value)
  if type(value) ~= "table" then return type(value) == "string" and ("%q"):format(value) or tostring(value) end
  local parts = {}
  for key, item in pairs(value) do parts[#parts + 1] = ("[%s]=%s"):format(quote(key), quote(item)) end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- What a handler does to make a call: both values come back, and the error as a line too.
local function chunk(name, arguments)
  return ([[
    local result, err = crux.%s(%s)
    return { result = result, err = err, text = err and tostring(err) }
  ]]):format(name, quote(arguments))
end

local function times(count, request)
  local list = {}
  for i = 1, count do list[i] = request end
  return list
end

-- Requests as heads and decoded bodies: lua-cjson writes fields in the order that the Lua it runs in has them.
local function apart(requests)
  local list = {}
  for i, request in ipairs(requests) do
    local head, body = request:match("^(.-\r\n\r\n)(.*)$")
    list[i] = { head, #body > 0 and cjson.decode(body) or nil }
  end
  return list
end

local function slowest(answers)
  local most = 0
  for _, answer in ipairs(answers) do most = math.max(most, answer.seconds) end
  return most
end

-- No alert, nothing raised, nobody crashed; what a reload or a client that went away leaves is of no concern.
local function clean(log, status)
  assert.equal("0", status)
  for line in log:gmatch("[^\n]+") do
    assert.is_nil(line:find("%[alert%]") or line:find("%[crit%]") or line:find("%[emerg%]"), line)
    assert.is_nil(line:find("lua entry thread aborted", 1, true), line)
    assert.is_nil(line:find("exited on signal", 1, true) or line:find("open socket", 1, true), line)
  end
  helper.clean(log)
end

local server

local function start(options)
  server = nginx.start(options)
  return server
end

local function stop()
  clean(server:close())
  server = nil
end

after_each(function()
  if server then server:close("TERM") end
  server = nil
end)

teardown(fault.stop)

-- What was given up is not on a connection any more.
local function lets_go(held)
  local open
  for _ = 1, 100 do
    open = 0
    for _, conn in ipairs(held:record().conns) do if not conn.eof then open = open + 1 end end
    if open == 0 then return end
    os.execute("sleep 0.05")
  end
  error(open .. " connections are still open", 2)
end

local missing = nginx.missing()
if missing then
  describe("crux.resty #stock", function()
    it("is run inside nginx", function() pending(missing) end)
  end)
  return
end

-- --- the same calls ---

local OK = helper.response(200, '{"a":[1,2.5,"x"]}', { "X-One: 1", "X-One: 2" })
local DEEP = '{"n":null,"list":[],"deep":[{"a":[true,-1.5e-3]}],"u":"\\u00e9","":1}'
local SKU = {
  supplier_uuid = helper.SUPPLIER, sku_id = "000106", quantity = 3, price = 19.99, expected_sku_cost = "5",
}

-- `said` is what the server answers in turn; `script`, what it does instead; `with`, what the call is given beside the usual.
local CASES = {
  { "204", said = { helper.response(204) } },
  { "a body", said = { OK } },
  { "a body with all that JSON has", said = { helper.response(201, DEEP) } },
  { "a body that is not JSON", said = { helper.response(200, "<p>") } },
  { "a body that is no text", said = { helper.response(200, '"\255\254"') } },
  { "a body over max_body", said = { OK }, with = { max_body = 9 } },
  { "a rejection over max_body", said = { helper.response(422, '{"detail":"gone"}') }, with = { max_body = 9 } },
  { "a body in chunks", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    conn:write("4\r\n[1,2\r\n2\r\n,3\r\n1\r\n]\r\n0\r\n\r\n") conn:fin()]] },
  { "half a body", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,") conn:fin()]] },
  { "half a rejection", script = [[conn:request() conn:write("HTTP/1.1 400 X\r\nContent-Length: 9\r\n\r\n[1,") conn:fin()]] },
  { "half a head", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-") conn:fin()]] },
  { "a head that never ends", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\n" .. ("X-More: x\r\n"):rep(8000)) conn:hold()]] },
  { "no HTTP", said = { "nonsense\r\n\r\n" } },
  { "no answer", script = "conn:request() conn:fin()" },
  { "a hint before the answer", said = { "HTTP/1.1 103 Early Hints\r\nX-One: 0\r\n\r\n" .. OK } },
  { "a 400 with fields", said = { helper.response(400, '{"skus":[{"supplier_uuid":["no"]}],"non_field_errors":["none"]}') } },
  { "a 401", said = { helper.response(401, '{"detail":"Invalid token."}') } },
  { "a 404 of a page", said = { helper.response(404, "<h1>gone</h1>", { "Content-Type: text/html" }) } },
  { "a 422", said = { helper.response(422, '{"detail":"gone"}') } },
  { "a 500", said = { helper.response(500) } },
  { "a 301", said = { helper.response(301, "", { "Location: /orders/" }) } },
  { "a 302", said = { helper.response(302, "", { "Location: /" }) } },
  { "a 308 to elsewhere", said = { helper.response(308, "", { "Location: https://elsewhere.invalid/" }) } },
  { "a 429 and then a 200", said = { helper.response(429, "", { "Retry-After: 0" }), OK } },
  { "a 429 and then a 422", said = { helper.response(429, "", { "Retry-After: 0" }), helper.response(422) } },
  { "a 429 and no retry", said = { helper.response(429, "", { "Retry-After: 0" }) }, with = { retries = 0 } },
  { "a 429 for too long", said = { helper.response(429, "{}", { "Retry-After: 60" }) } },
  { "an order looked at", name = "get_order", said = { OK } },
  { "an order looked at twice", name = "get_order", said = { helper.response(503), OK } },
  { "SKUs with all there is", said = { OK }, with = { skus = { SKU, { supplier_uuid = helper.SUPPLIER }, SKU } } },
  { "no SKUs", said = { OK }, without = "skus" },
  { "the later api", said = { OK }, with = { api = "timp" } },
  { "the later api, looked at", name = "get_order", said = { OK }, with = { api = "timp" } },
  { "a prefix", said = { OK }, under = "/be/hind" },
  { "a user agent", said = { OK }, with = { user_agent = "shop/1.2" } },
  { "TLS", tls = "good", said = { OK } },
  { "TLS with nobody to be trusted", tls = "self_signed", said = { OK }, with = { retries = 0 } },
  { "TLS of another", tls = "wrong_name", said = { OK }, with = { retries = 0 } },
  { "a misspelt field", with = { oder_uuid = "x" } },
  { "a malformed UUID", with = { order_uuid = "x" } },
  { "a SKU without a supplier", with = { skus = { SKU, {} } } },
  { "a list that is none", with = { skus = { SKU, nil, SKU, more = 1 } } },
  { "an option out of range", with = { timeout = -1 } },
  { "a token that cannot stand in a header", with = { token = "not a token" } },
  { "no token", with = { token = "" } },
  { "a deadline", script = "conn:hold()", with = { timeout = 0.1 } },
  { "a deadline in the middle of a body", with = { timeout = 0.2 },
    script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,") conn:hold()]] },
  { "nobody who listens", refused = true, with = { retries = 0 } },
}

-- All there is of an answer but how long it took, what a connection was used for before, and the length of a random pause.
local function told(answer, text, events)
  local kept = {}
  for name, value in pairs(answer) do kept[name] = value end
  kept.message = kept.message and kept.message:gsub("%d+ ms", "x ms")
  kept.meta = {}
  for name, value in pairs(answer.meta) do
    if name ~= "time" and name ~= "reused" then kept.meta[name] = value end
  end
  for _, event in ipairs(events) do event.pause = event.pause and "some" end
  return { kept, text and text:gsub("%d+ ms", "x ms"), events }
end

describe("crux.resty #stock", function()
  for _, mode in ipairs{ "event", "socket", "poll" } do
    it("says and sends what crux does, woken by " .. mode, function()
      start{ mode = mode }
      for _, case in ipairs(CASES) do
        local what, name = case[1], case.name or "cancel_order"
        local there = case.refused and fault.refused() or fault.serve{ script = case.script or helper.ANSWER, tls = case.tls }
        local arguments = helper.arguments(there, case.with)
        if name == "get_order" then arguments.skus = nil end
        if case.without then arguments[case.without] = nil end
        if case.under then arguments.base_url = arguments.base_url .. case.under end
        if case.tls then arguments.ca_file = fault.ca_file end

        local function again()
          if not case.refused then there:set{ answers = case.said, count = 0 } end
        end
        local function seen() return case.refused and {} or helper.new_requests(there) end

        again()
        local source = quote(arguments)
        local events
        arguments.on_event, events = helper.events()
        local result, err = helper.call(crux[name], arguments)
        local sent = seen()
        again()
        local light = server:run(([[
          local arguments, events = %s, {}
          arguments.on_event = function(event) events[#events + 1] = event end
          local result, err = crux.%s(arguments)
          return { result = result, err = err, text = err and tostring(err), events = events }
        ]]):format(source, name))
        local sent_of_light = seen()

        assert.same(told(result or err, err and tostring(err), events),
          told(light.result or light.err, light.text, light.events), what)
        assert.same(apart(sent), apart(sent_of_light), what)
        assert.equal((result or err).meta.sends, #sent_of_light, what)
        there:close()
      end
      assert.equal(mode, server:run('return { require("crux.resty.wakeup").in_use() }')[1])
      stop()
    end)
  end
end)

describe("crux.resty #tree", function()
  local upstream, sandbox

  setup(function()
    upstream = fault.serve{ script = helper.ANSWER }
    sandbox = process.sandbox{ orders = 500, plain = true }
  end)

  teardown(function()
    upstream:close()
    sandbox:close()
  end)

  local function sandboxed(uuid, cue, more)
    local arguments = {
      token = sandbox.tokens.retailer, base_url = sandbox.base_url .. (cue and "/~" .. cue or ""), order_uuid = uuid,
    }
    for name, value in pairs(more or {}) do arguments[name] = value end
    return arguments
  end

  -- --- the worker goes on ---

  for _, mode in ipairs{ "event", "socket", "poll" } do
    it("lets the worker go on while 100 calls wait, woken by " .. mode, function()
      start{ mode = mode }
      local slow = { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=800", { max_connections = 100 })) }
      local answers = server:begin(times(100, slow), 100)
      os.execute("sleep 0.3")
      local static = server:ask(times(100, { path = "/static" }))
      assert.is_true(slowest(static) < 0.4, "static took " .. slowest(static))
      answers = answers()
      for _, answer in ipairs(answers) do
        assert.equal(200, answer.status, answer.body)
        assert.equal("accepted", cjson.decode(answer.body).result.outcome)
      end
      assert.is_true(slowest(answers) < 2.5, "the slowest took " .. slowest(answers))
      stop()
    end)
  end

  it("uses no processor time for 500 calls that wait, and one thread", function()
    start()
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
      os.execute("sleep 2")
      local used_now, slept_now = nginx.usage(worker)
      assert.is_true(used_now - used < 0.1, ("expected less than 5 %% of a core, found %.2f s in 2 s"):format(used_now - used))
      -- whoever polls is up more often than that, however little each time takes
      assert.is_true(slept_now - slept < 200, ("woken %d times in 2 s"):format(slept_now - slept))
      assert.equal(2, threads)
    end
    assert.equal(500, held:record().requests)
    held:set{ go = true }
    for _, answer in ipairs(answers()) do assert.equal("accepted", cjson.decode(answer.body).result.outcome) end
    held:close()
    stop()
  end)

  it("goes on when the application has used up its timers", function()
    start{ mode = "socket", http = "lua_max_running_timers 1; lua_max_pending_timers 10;",
      server = [[location = /exhaust { content_by_lua_block {
        ngx.timer.at(0, function() ngx.sleep(2) end)
        ngx.sleep(0.05)
        ngx.print("done")
      } }]] }
    server:ask{ { path = "/exhaust" } }
    local answers = server:ask(times(20, { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=200")) }), 20)
    for _, answer in ipairs(answers) do assert.equal("accepted", cjson.decode(answer.body).result.outcome) end
    assert.is_true(slowest(answers) < 1.5, "the slowest took " .. slowest(answers))
    local log = server:close()
    server = nil
    assert.is_truthy(log:find("lua_max_running_timers are not enough", 1, true))
  end)

  it("pauses between attempts without holding the worker up", function()
    start()
    local answers = server:begin({ { body = chunk("cancel_order",
      sandboxed(sandbox.orders[1], "status=429,retry_after=1", { retries = 1 })) } })
    os.execute("sleep 0.2")
    assert.is_true(slowest(server:ask(times(20, { path = "/static" }))) < 0.4)
    local answer = answers()[1]
    assert.equal(2, cjson.decode(answer.body).err.meta.attempts)
    assert.is_true(answer.seconds > 0.9)
    stop()
  end)

  it("lets a token function wait as its caller may", function()
    start()
    local answer = server:run([[
      local client = crux.new{ token = function() ngx.sleep(0.01) return "]] .. sandbox.tokens.retailer .. [[" end }
      local result, err = client:get_order]] .. quote{ base_url = sandbox.base_url, order_uuid = sandbox.orders[1] } .. [[

      return { result = result, text = tostring(err) }
    ]])
    assert.equal("accepted", answer.result and answer.result.outcome, answer.text)
    stop()
  end)

  it("lets the worker go on while it waits for what was submitted", function()
    start()
    local answers = server:begin{ { body = [[
      local client = crux.new]] .. quote{ token = sandbox.tokens.retailer, base_url = sandbox.base_url .. "/~delay=600" } .. [[

      local order = ]] .. quote(sandbox.orders[450]) .. [[

      local pending = client:submit("get_order", { order_uuid = order })
      local first = { pending:wait(0.05) }
      local done, result = pending:wait()
      local report = client:cancel_orders({ { order_uuid = order }, { order_uuid = "x" } }, { stop_on = {} })
      return { first = first[1], done = done, outcome = result.outcome, counts = report.counts }
    ]] } }
    os.execute("sleep 0.2")
    assert.is_true(slowest(server:ask(times(50, { path = "/static" }))) < 0.4)
    local answer = cjson.decode(answers()[1].body)
    assert.is_false(answer.first)
    assert.is_true(answer.done)
    assert.equal("accepted", answer.outcome)
    assert.equal(1, answer.counts.not_sent)
    assert.equal(2, answer.counts.accepted + answer.counts.rejected + answer.counts.not_sent)
    stop()
  end)

  -- --- where it may be called ---

  it("names a phase that cannot wait, and runs in those that can", function()
    local arguments = quote(sandboxed(sandbox.orders[1]))
    local function attempt(keep)
      return ("local ok, r, e = pcall(require('crux.resty').get_order, %s) %s"):format(arguments, keep)
    end
    local KEEP = "ngx.ctx.found = tostring(ok and (r and r.outcome or e) or r)"
    local SAY = " content_by_lua_block { ngx.print(ngx.ctx.found) }"
    local function note(phase)
      return attempt("require('ngx.errlog').raw_log(ngx.NOTICE, '" .. phase .. "| ' .. tostring(r))")
    end
    start{
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
    server = nil
    for _, phase in ipairs{ "init", "init_worker", "header_filter", "body_filter", "log" } do
      local said = log:match("%f[%w_]" .. phase .. "| ([^\n]*)")
      assert.is_truthy(said and said:find("found '" .. phase .. "': ", 1, true), phase .. ": " .. tostring(said))
      assert.is_truthy(said:find("ngx.timer.at", 1, true), said)
    end
    assert.equal("accepted", log:match("timer| (%a+)"))
  end)

  it("makes clients before the fork, and raises what misuse raises", function()
    local options = quote{ token = sandbox.tokens.retailer, base_url = sandbox.base_url }
    start{ workers = 2, init = "client = require('crux.resty').new" .. options }
    local answer = server:run("local result, err = client:get_order" .. quote{ order_uuid = sandbox.orders[1] } .. [[
      local made, why = crux.new{ timeout = 0 }
      local _, no_table = pcall(crux.cancel_order)
      return { outcome = result and result.outcome, text = tostring(err), kind = why.kind, no_table = no_table }
    ]])
    assert.equal("accepted", answer.outcome, answer.text)
    assert.equal("invalid", answer.kind)
    assert.is_truthy(answer.no_table:find("expected a table of arguments, found nothing", 1, true))
    stop()
  end)

  -- --- a worker's whole life ---

  it("gives each call its own answer, in two workers with a thread each", function()
    start{ workers = 2 }
    local requests, seen = {}, {}
    for i = 1, 200 do
      requests[i] = { body = ([[
        local result, err = crux.get_order(%s)
        return { worker = ngx.worker.pid(), raw = result and result.raw or tostring(err) }
      ]]):format(quote(sandboxed(sandbox.orders[i], "delay=" .. i % 7 * 10))) }
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
    stop()
  end)

  it("has an inbox for each Lua state, with lua_code_cache off", function()
    for _, mode in ipairs{ "event", "socket", "poll" } do
      start{ code_cache = "off", mode = mode }
      local answers = server:ask(times(40, { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=50")) }), 10)
      for _, answer in ipairs(answers) do
        assert.equal(200, answer.status, answer.body .. server:log())
        assert.equal("accepted", cjson.decode(answer.body).result.outcome)
      end
      local log = server:close()
      server = nil
      assert.is_nil(log:find("exited on signal", 1, true), log)
    end
  end)

  it("survives light threads that are killed, and gives their calls up", function()
    for _, mode in ipairs{ "event", "socket", "poll" } do
      start{ mode = mode }
      upstream:set({ answers = false, answer = OK }, true)
      local held = fault.serve{ script = "conn:hold()" }
      local answer = server:run([[
        local slow, fast = ]] .. quote(helper.arguments(held)) .. ", " .. quote(helper.arguments(upstream)) .. [[

        for i = 1, 30 do
          local thread = ngx.thread.spawn(function() crux.cancel_order(slow) end)
          ngx.sleep(0.002)
          ngx.thread.kill(thread)
          collectgarbage()
        end
        -- some that end just as they are killed
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
      lets_go(held)
      held:close()
      stop()
    end
  end)

  it("survives clients that go away", function()
    start()
    local slow = { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=500")), give_up = 0.1 }
    for _, answer in ipairs(server:ask(times(60, slow), 30)) do assert.equal(0, answer.status) end
    os.execute("sleep 0.5")
    local answer = server:run(chunk("get_order", sandboxed(sandbox.orders[1])))
    assert.equal("accepted", answer.result.outcome)
    stop()
  end)

  it("raises what is raised while it waits, and goes on", function()
    start()
    local answer = server:run([[
      local arguments = ]] .. quote(sandboxed(sandbox.orders[1], "status=429,retry_after=0")) .. [[

      arguments.on_event = function(event) if event.name == "retry" then error("mine", 0) end end
      local ok, why = pcall(crux.get_order, arguments)
      arguments.on_event = nil
      return { ok, why, crux.get_order(arguments) == nil }
    ]])
    assert.same({ false, "mine", true }, answer)
    stop()
  end)

  it("gives up what other light threads of a request wait for when its handler raises", function()
    for _, mode in ipairs{ "event", "socket", "poll" } do
      start{ mode = mode }
      local held = fault.serve{ script = "conn:request() conn:hold()" }
      local raising = { body = ([[
        for i = 1, 3 do ngx.thread.spawn(function() crux.cancel_order(%s) end) end
        ngx.sleep(0.05)
        error("mine", 0)
      ]]):format(quote(helper.arguments(held))) }
      for _, answer in ipairs(server:ask(times(10, raising), 5)) do assert.equal(500, answer.status) end
      local answer = server:run("collectgarbage() collectgarbage() " .. chunk("get_order", sandboxed(sandbox.orders[1])))
      assert.equal("accepted", answer.result.outcome)
      lets_go(held)
      assert.equal(30, held:record().requests)
      held:close()
      local log, status = server:close()
      server = nil
      assert.is_truthy(log:find("lua entry thread aborted: runtime error: mine", 1, true))
      clean(log:gsub("[^\n]*runtime error: mine[^\n]*", ""), status)
    end
  end)

  it("lets a call finish whose client went away, unless lua_check_client_abort is set", function()
    local finish = [[ content_by_lua_block {
      ngx.req.read_body()
      _G.crux = require "crux.resty"
      local said = assert(loadstring(ngx.req.get_body_data()))()
      require("ngx.errlog").raw_log(ngx.NOTICE, ngx.var.uri .. " " .. said.result.outcome)
    } }]]
    start{ server = "location = /kept { " .. finish .. " location = /left { lua_check_client_abort on; " .. finish }
    for i, path in ipairs{ "/kept", "/left" } do
      local body = chunk("cancel_order", sandboxed(sandbox.orders[500 - i], "delay=500"))
      assert.equal(0, server:ask{ { path = path, body = body, give_up = 0.2 } }[1].status)
    end
    os.execute("sleep 1")
    local log = server:log()
    assert.is_truthy(log:find("/kept accepted", 1, true), log)
    assert.is_nil(log:find("/left accepted", 1, true))
    stop()
  end)

  it("finishes what is in flight when told to quit, and then ends", function()
    start()
    local began = core.now()
    local answers = server:begin(times(20, { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=600")) }), 20)
    os.execute("sleep 0.2")
    server:signal("QUIT")
    for _, answer in ipairs(answers()) do
      assert.equal(200, answer.status)
      assert.equal("accepted", cjson.decode(answer.body).result.outcome)
    end
    stop()
    assert.is_true(core.now() - began < 10, "quitting took " .. core.now() - began)
  end)

  it("ends in time when told to quit, though a call would not", function()
    for _, mode in ipairs{ "event", "socket", "poll" } do
      start{ mode = mode, shutdown = "1s" }
      local began = core.now()
      local answers = server:begin(times(20, { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=20000")) }), 20)
      os.execute("sleep 0.3")
      stop()
      assert.is_true(core.now() - began < 10, "quitting took " .. core.now() - began)
      for _, answer in ipairs(answers()) do assert.is_true(answer.status == 0 or answer.status >= 500) end
    end
  end)

  -- `make reloads` has half a minute of it. Connections are not kept: a request that comes as nginx closes a kept one is
  -- nobody's to answer.
  it("loses no call in reloads, in two workers", function()
    local seconds = tonumber(os.getenv "RELOADS") or 2
    local orders = process.sandbox{ orders = 200 * seconds, plain = true }
    start{ workers = 2, http = "keepalive_timeout 0;" }
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
    stop()
    orders:close()
  end)

  it("ends in the middle of calls when told to stop at once", function()
    start()
    local answers = server:begin(times(50, { body = chunk("get_order", sandboxed(sandbox.orders[1], "delay=20000")) }), 50)
    os.execute("sleep 0.3")
    local began = core.now()
    local log, status = server:close("TERM")
    server = nil
    assert.is_true(core.now() - began < 10, "it took " .. core.now() - began)
    answers()
    clean(log, status)
  end)

  -- --- the example ---

  it("answers by outcome in examples/openresty", function()
    local pipe = assert(io.popen("lua5.4 examples/openresty/demo.lua 2>&1 </dev/null; echo ended $?"))
    local text = pipe:read("*a")
    pipe:close()
    assert.is_truthy(text:find("\nall as promised\nended 0\n$"), text)
    for _, advice in ipairs{ "not sent, try again", "unknown, look before you retry" } do
      assert.is_truthy(text:find(advice, 1, true), advice)
    end
  end)
end)
