-- client:submit, and poll and wait of what it returns.
local async = require "spec.support.async"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local ORDER, OK, HOLD = async.ORDER, async.OK, async.HOLD
local serve, connect = async.serve, async.connect
local until_true, is_done = async.until_true, async.is_done

after_each(async.close_all)
teardown(fault.stop)

describe("client:submit", function()
  it("returns a pending, not the result", function()
    local client = connect(serve(OK))
    local pending, err = client:submit("cancel_order", ORDER)
    assert.is_nil(err)
    assert.truthy(tostring(pending):find("^crux%.pending"))
    assert.is_true(pending:wait())
    assert.equal(204, is_done(pending).status)
  end)

  it("accepts the arguments and options of a blocking call", function()
    local client = connect(serve(OK))
    for _, name in ipairs{ "cancel_order", "get_order" } do
      local result, err = select(2, client:submit(name, { order_uuid = helper.ORDER, timeout = 5, retries = 0 }):wait())
      assert.equal("accepted", helper.check(result, err).outcome)
    end
  end)

  it("returns nil, err for invalid arguments", function()
    local server = serve(OK)
    local client = connect(server)
    for _, case in ipairs{ { {}, "order_uuid" }, { { order_uuid = helper.ORDER, skuz = {} }, "skuz" },
        { { order_uuid = helper.ORDER, skus = {} }, "skus" }, { { order_uuid = "x" }, "order_uuid" },
        { { order_uuid = helper.ORDER, retries = 11 }, "retries" } } do
      local pending, err = client:submit("cancel_order", case[1])
      assert.is_nil(pending)
      helper.check(nil, err)
      assert.same({ "invalid", "not_sent", case[2] }, { err.kind, err.outcome, err.field })
    end
    assert.equal(0, client:in_flight())
    assert.equal(0, server:record().connections)
  end)

  it("raises an error on misuse", function()
    local client = connect(serve(OK))
    assert.error_matches(function() client:submit("cancel_ordre", ORDER) end, "cancel_ordre")
    assert.error_matches(function() client:submit("cancel_order") end, "table")
    assert.error_matches(function() client:submit("cancel_order", 1) end, "table")
    client:close()
    assert.error_matches(function() client:submit("cancel_order", ORDER) end, "closed")
  end)

  it("without a token returns a pending whose error is kind auth", function()
    local server = serve(OK)
    local client = assert(crux.new{ base_url = server.base_url, token = function() return nil, "none today" end })
    local pending = assert(client:submit("cancel_order", ORDER))
    local _, err = is_done(pending)
    assert.same({ "auth", "not_sent" }, { err.kind, err.outcome })
    assert.equal(pending, client:step())
    client:close()
  end)
end)

describe("pending:poll", function()
  local function token() return helper.TOKEN end
  for name, case in pairs{
    ["in flight"] = {},
    ["in flight, with callbacks"] = { more = { token = token, on_event = function() end } },
    ["in the queue"] = { more = { max_connections = 1 }, before = 1 },
    ["pausing after a 429"] = {
      script = "conn:request() conn:write(shared.answer) conn:hold()", pauses = true,
      more = { token = token, on_event = function() end },
    },
  } do
    it("returns false and allocates nothing for a call " .. name, function()
      local answer = helper.response(429, "", { "Retry-After: 9" })
      local client = connect(serve(case.script or HOLD, { answer = answer }), case.more)
      local before_it = {} -- a pending that nobody holds is aborted
      for i = 1, case.before or 0 do before_it[i] = client:submit("cancel_order", ORDER) end
      local pending = client:submit("cancel_order", ORDER)
      if case.pauses then
        async.until_true(function() return pending:poll() or client:timeout() end)
      end
      local polls = 0
      local function poll_often()
        for _ = 1, 1000 do
          if pending:poll() ~= false then polls = polls + 1 end
        end
      end
      local least = math.huge
      for _ = 1, 10 do -- LuaJIT compiles, which allocates
        collectgarbage()
        collectgarbage()
        collectgarbage("stop")
        local before = collectgarbage("count")
        poll_often()
        least = math.min(least, collectgarbage("count") - before)
        collectgarbage("restart")
      end
      assert.equal(case.before or 0, #before_it)
      assert.equal(0, polls)
      assert.equal(0, least)
      assert.equal(1, select("#", pending:poll()))
    end)
  end

  it("returns the same values each time, after close too", function()
    local client = connect(serve(OK))
    local pending = client:submit("cancel_order", ORDER)
    until_true(function() return pending:poll() end)
    local result = is_done(pending)
    assert.equal(204, result.status)
    client:close()
    assert.equal(result, (is_done(pending)))
    client = nil -- luacheck: ignore
    async.forget_clients()
    collectgarbage()
    collectgarbage()
    assert.equal(result, (is_done(pending)))
  end)

  it("returns the same err each time", function()
    local client = connect(serve("conn:request() conn:rst()"))
    local pending = client:submit("cancel_order", ORDER)
    until_true(function() return pending:poll() end)
    local result, err = is_done(pending)
    assert.is_nil(result)
    assert.same({ "unknown", "network" }, { err.outcome, err.kind })
  end)
end)

describe("pending:wait", function()
  it("returns false when the seconds are over", function()
    local client = connect(serve(HOLD))
    local pending = client:submit("cancel_order", ORDER)
    for _, seconds in ipairs{ 0, 0.05, 0.3 } do
      -- a busy machine makes some waits longer, not all of them
      local least
      for _ = 1, 20 do
        local before = core.now()
        assert.is_false((pending:wait(seconds)))
        local took = core.now() - before
        assert.is_true(took >= seconds - 0.001, took .. " for " .. seconds)
        least = math.min(least or took, took)
        if least < seconds + 0.25 then break end
      end
      assert.is_true(least < seconds + 0.25, least .. " for " .. seconds)
    end
  end)

  it("raises an error in the call's own on_event", function()
    local client = connect(serve(OK))
    local call, ok, why
    call = client:submit("cancel_order", {
      order_uuid = helper.ORDER,
      on_event = function(event) if event.name == "response" then ok, why = pcall(call.wait, call) end end,
    })
    assert.is_true(select(2, call:wait(5)) ~= nil)
    assert.is_false(ok)
    assert.is_truthy(why:find("wait called from the call's own callback", 1, true), why)
  end)

  it("returns as soon as the call is done", function()
    local client = connect(serve("conn:request() conn:sleep(0.2) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') conn:request()"))
    local before = core.now()
    assert.is_true(client:submit("cancel_order", ORDER):wait(60))
    assert.is_true(core.now() - before < 30)
  end)

  it("raises an error at once for what is no number", function()
    local pending = connect(serve(HOLD), { timeout = 60 }):submit("cancel_order", ORDER)
    local before = core.now()
    for _, value in ipairs{ false, true, "5", {}, 0 / 0 } do
      assert.error_matches(function() pending:wait(value) end, "expected a number of seconds")
    end
    assert.is_false(pending:wait(-1))
    assert.is_true(core.now() - before < 30)
  end)

  it("returns when a debug hook aborts the call or closes the client", function()
    local server = serve(HOLD)
    for _, what in ipairs{ "abort", "close" } do
      local client = connect(server, { timeout = 60 })
      local pending = client:submit("cancel_order", ORDER)
      local when = core.now() + 0.3
      local hook, mask, count = debug.gethook()
      debug.sethook(function()
        if core.now() < when then return end
        debug.sethook()
        if what == "abort" then pending:abort() else client:close() end
        core.sleep(0.1) -- for the worker to let go of it
      end, "c")
      local before = core.now()
      local ok, done = pcall(pending.wait, pending, 60)
      debug.sethook(hook, mask, count)
      assert.same({ true, true }, { ok, done })
      assert.is_true(core.now() - before < 30)
      assert.equal("aborted", select(2, is_done(pending)).kind)
    end
  end)

  it("retries after a pause, during which it sleeps", function()
    local client = connect(serve("conn:request() conn:write(shared.answer)",
      { answer = helper.response(429, "", { "Retry-After: 1", "Connection: close" }) }), { retries = 1 })
    local before, cpu = core.now(), forks.cpu()
    local done, _, err = client:submit("cancel_order", ORDER):wait()
    assert.is_true(done)
    assert.equal(429, err.status)
    assert.equal(2, err.meta.sends)
    assert.is_true(core.now() - before >= 1)
    assert.is_true(forks.cpu() - cpu < 0.5, "spins")
  end)
end)
