-- The life of a client with calls in flight: garbage collection, close and the end of the Lua
-- state.
local Scheduler = require "crux.scheduler"
local async = require "spec.support.async"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local ORDER, OK, ANSWERS = async.ORDER, async.OK, async.ANSWERS
local serve, connect = async.serve, async.connect
local until_true, is_done = async.until_true, async.is_done

after_each(async.close_all)
teardown(fault.stop)

describe("a client with calls in flight", function()
  it("is not collected while a pending of its is reachable", function()
    local server = serve("conn:request() conn:sleep(0.1) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n')")
    local call
    do
      local client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
      call = client:submit("cancel_order", ORDER)
    end
    for _ = 1, 3 do collectgarbage() end
    assert.is_true(call:wait(5))
    assert.equal(204, is_done(call).status)
  end)

  it("can be closed by a finalizer during dry_run", function()
    -- AddressSanitizer detects a use after free
    assert.equal("closed 500 times", helper.child([[
      local crux = require "crux"
      local order = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", timeout = 5, user_agent = "a/1" }
      local closed = 0
      for _ = 1, 500 do
        local client = crux.new{ token = "pending-spec-token", base_url = "http://127.0.0.1:1" }
        local function finalizer()
          closed = closed + 1
          client:close()
        end
        if rawget(_G, "newproxy") then getmetatable(newproxy(true)).__gc = finalizer
        else setmetatable({}, { __gc = finalizer }) end
        repeat until not pcall(client.dry_run, client, "cancel_order", order)
      end
      print("closed " .. closed .. " times")
    ]]))
  end)

  it("at lua_close answers a host's finalizer that waits for a call", function()
    local flag = os.tmpname()
    os.remove(flag)
    finally(function() os.remove(flag) end)
    local server = serve(("conn:request() io.open(%q, 'w'):close() conn:hold()"):format(flag))
    -- made before crux is loaded, so that its finalizer runs last
    local said = helper.child([[
      local call
      local function finalizer()
        for _ = 1, 2 do
          local done, result, err = call:wait()
          print(done, result, err.kind, err.outcome)
        end
      end
      if rawget(_G, "newproxy") then
        kept = newproxy(true)
        getmetatable(kept).__gc = finalizer
      else kept = setmetatable({}, { __gc = finalizer }) end
      local crux, core = require "crux", require "crux.core"
      local client = crux.new{ token = "pending-spec-token", base_url = "]] .. server.base_url .. [[" }
      call = client:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
      repeat core.sleep(0.005) until io.open("]] .. flag .. [[") -- the server has the request
    ]])
    assert.equal(("true\tnil\taborted\tunknown\n"):rep(2):sub(1, -2), said)
  end)

  it("uses no more memory for a host that waits and never steps #stock", function()
    local function resident()
      local file = io.open("/proc/self/status")
      if not file then return nil end
      local text = file:read("*a")
      file:close()
      return tonumber(text:match("VmRSS:%s*(%d+)"))
    end
    if not resident() then return pending("expected a /proc to see memory in") end
    local client = connect(serve("while conn:request() do conn:write(shared.answer) end",
      { answer = helper.response(200, ("x"):rep(50000)) }))
    local late = client:submit("cancel_order", ORDER) -- nobody asks for this one before the others
    local function use(count)
      for _ = 1, count do assert.is_true(client:submit("cancel_order", ORDER):wait(5)) end
      collectgarbage()
      collectgarbage()
      return resident()
    end
    local before, more = use(100), nil
    -- what is kept grows with each round, the allocator's own memory does not
    for _ = 1, 3 do
      local after = use(400)
      before, more = after, after - before
      if more < 5000 then break end
    end
    assert.is_true(more < 5000, "expected none of 20,000 KiB to be kept, found " .. more)
    assert.equal(200, is_done(late).status)
  end)

  -- KiB of Lua's own that `run` leaves behind.
  local function left_by(run)
    collectgarbage()
    collectgarbage()
    local before = collectgarbage("count")
    run()
    collectgarbage()
    collectgarbage()
    return collectgarbage("count") - before
  end

  it("keeps nothing for each call that is done, polled and never stepped", function()
    local client = assert(crux.new{ token = function() return nil, "none today" end })
    finally(function() client:close() end)
    local function use(count)
      for _ = 1, count do assert.is_true((client:submit("cancel_order", ORDER):poll())) end
    end
    use(1000)
    local left = left_by(function() use(20000) end)
    assert.is_true(left < 100, ("expected less than 100 KiB, found %.0f"):format(left))
    local last = client:submit("cancel_order", ORDER)
    local found
    repeat
      local pending = client:step()
      found = found or pending == last
    until not pending
    assert.is_true(found)
  end)

  it("keeps nothing for each pause of a call that is polled and never stepped", function()
    local scheduler = Scheduler.new({}, { now = core.now })
    local call = { _slot = false, pauses_until = function(self, due) return self.due == due end }
    local now = core.now()
    local function pause(count)
      for i = 1, count do
        call.due = now + 50 + i
        scheduler:pause(call, call.due)
      end
    end
    pause(1000)
    local left = left_by(function() pause(20000) end)
    assert.is_true(left < 100, ("expected less than 100 KiB, found %.0f"):format(left))
    assert.is_true(math.abs(scheduler:timeout() - (call.due - core.now())) < 1)
    scheduler:close()
  end)

  it("closes its descriptors when it is collected", function()
    local server = serve(OK)
    local function use()
      local client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
      client:pollfd()
      client:submit("cancel_order", ORDER):wait()
    end
    use()
    collectgarbage()
    collectgarbage()
    local before = forks.descriptors()
    for _ = 1, 20 do use() end
    -- the worker closes connections a little later; those of earlier specs may be closed meanwhile
    if not before then return pending("expected a /proc to count descriptors in") end
    until_true(function()
      collectgarbage()
      return forks.descriptors() <= before
    end)
  end)

  it("has every call done after close, and its methods raise an error", function()
    local server = serve("if n == 1 then conn:request() conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end conn:request() conn:hold()")
    local client = connect(server, { max_connections = 2 })
    local finished = client:submit("cancel_order", ORDER)
    finished:wait()
    local calls = {}
    for i = 1, 5 do calls[i] = client:submit("cancel_order", ORDER) end
    until_true(function() return server:record().requests == 3 end)
    assert.equal(5, client:in_flight())
    client:close()
    assert.equal(0, client:in_flight())
    assert.equal(204, is_done(finished).status)
    local counts = { not_sent = 0, unknown = 0 }
    for _, call in ipairs(calls) do
      local _, err = is_done(call)
      assert.equal("aborted", err.kind)
      counts[err.outcome] = counts[err.outcome] + 1
      call:abort()
    end
    assert.same({ not_sent = 3, unknown = 2 }, counts)
    local methods = {
      submit = { "cancel_order", ORDER }, dry_run = { "cancel_order", ORDER }, cancel_order = { ORDER }, get_order = { ORDER },
      cancel_orders = { {} }, step = {}, pollfd = {}, events = {}, timeout = {},
    }
    for name, given in pairs(methods) do
      local ok, why = pcall(client[name], client, given[1], given[2])
      assert.is_false(ok, name)
      assert.truthy(tostring(why):find("closed", 1, true), tostring(why))
    end
    client:close()
    assert.equal(0, client:in_flight())
    until_true(function()
      for _, conn in ipairs(server:record().conns) do if not conn.eof then return false end end
      return true
    end)
  end)

  it("closed from on_event has every call done", function()
    local client
    client = connect(serve(OK), { on_event = function(e) if e.name == "response" then client:close() end end })
    local calls = { client:submit("cancel_order", ORDER), client:submit("cancel_order", ORDER) }
    calls[1]:wait()
    for _, call in ipairs(calls) do is_done(call) end
    assert.equal(0, client:in_flight())
  end)

  it("closed from a callback of a blocking call aborts that call", function()
    for place, sends in pairs{ request1 = 0, token1 = 0, response1 = 1, retry1 = 1, request2 = 1, token2 = 1 } do
      local server = serve(ANSWERS, { answers = { helper.response(429, "", { "Retry-After: 0" }), helper.response(204) } })
      local client, asked = nil, 0
      local function at(here) if here == place then client:close() end end
      client = connect(server, {
        on_event = function(e) at(e.name .. e.attempt) end,
        token = function()
          asked = asked + 1
          at("token" .. asked)
          return helper.TOKEN
        end,
      })
      local _, err = helper.call(client.cancel_order, client, ORDER)
      assert.same({ "aborted", sends > 0 and "unknown" or "not_sent", sends }, { err.kind, err.outcome, err.meta.sends }, place)
      assert.equal(sends, server:record().requests, place)
    end
    local server, client = serve(OK), nil
    client = connect(server, { on_event = function(e) if e.name == "response" then client:close() end end })
    assert.equal("accepted", helper.call(client.cancel_order, client, ORDER).outcome)
  end)

  it("closed from on_event makes step return nil", function()
    local client
    client = connect(serve(OK), { on_event = function(e) if e.name == "response" then client:close() end end })
    local calls = { client:submit("cancel_order", ORDER), client:submit("cancel_order", ORDER) }
    forks.readable(client:pollfd(), 5)
    assert.is_nil(client:step())
    for _, call in ipairs(calls) do is_done(call) end
    assert.error_matches(function() client:step() end, "closed")
  end)
end)
