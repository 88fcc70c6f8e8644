-- Calls that do not block: what `submit`, `poll`, `wait`, `abort`, `step` and the rest promise, word for word.
local crux = require "crux"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local Scheduler = require "crux.scheduler"
local helper = require "spec.helper"

local ORDER = { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }
local OK = "while conn:request() do conn:write('HTTP/1.1 204 No Content\\r\\n\\r\\n') end"
local HOLD = "conn:request() conn:hold()"

local ANSWERS = [[
while conn:request() do
  shared.count = (shared.count or 0) + 1
  conn:write(shared.answers[shared.count])
end]]

teardown(fault.stop)

local servers, clients = {}, {}

after_each(function()
  for _, one in ipairs(clients) do one:close() end
  for _, one in ipairs(servers) do one:close() end
  servers, clients = {}, {}
end)

local function serve(script, shared)
  local server = fault.serve{ script = script, shared = shared }
  servers[#servers + 1] = server
  return server
end

local function connect(server, more)
  local options = { token = helper.TOKEN, base_url = server.base_url, timeout = 10 }
  for name, value in pairs(more or {}) do options[name] = value end
  local client = assert(crux.new(options))
  clients[#clients + 1] = client
  return client
end

local function until_true(condition, seconds)
  local deadline = core.now() + (seconds or 5)
  repeat
    local value = condition()
    if value then return value end
    core.sleep(0.002)
  until core.now() > deadline
  error("expected it to come true within 5 s", 2)
end

local function refused()
  local server = fault.refused()
  servers[#servers + 1] = server
  return server
end

-- Whatever the pending says from now on, it says for ever.
local function is_done(pending)
  local first = { pending:poll() }
  assert.is_true(first[1])
  helper.check(first[2], first[3])
  for _ = 1, 3 do
    local done, result, err = pending:poll()
    assert.is_true(done)
    assert.equal(first[2], result)
    assert.equal(first[3], err)
    done, result, err = pending:wait(0)
    assert.is_true(done)
    assert.equal(first[2], result)
    assert.equal(first[3], err)
  end
  return first[2], first[3]
end

-- Steps until nothing is in flight, as a loop would: woken by the descriptor or the time. What was returned, in order.
local function drain(client, seconds)
  local list, deadline = {}, core.now() + (seconds or 10)
  while true do
    local pending = client:step()
    if pending then list[#list + 1] = pending
    elseif client:in_flight() == 0 then return list
    else
      assert.is_true(core.now() < deadline, "expected all to be done by now")
      forks.readable(client:pollfd(), math.min(client:timeout() or 1, 1))
    end
  end
end

describe("submit", function()
  it("returns a pending, and never what came of the call", function()
    local client = connect(serve(OK))
    local pending, err = client:submit("cancel_order", ORDER)
    assert.is_nil(err)
    assert.truthy(tostring(pending):find("^crux%.pending"))
    assert.is_true(pending:wait())
    assert.equal(204, is_done(pending).status)
  end)

  it("takes what a blocking call does", function()
    local client = connect(serve(OK))
    for _, name in ipairs{ "cancel_order", "get_order" } do
      local result, err = select(2, client:submit(name, { order_uuid = helper.ORDER, timeout = 5, retries = 0 }):wait())
      assert.equal("accepted", helper.check(result, err).outcome)
    end
  end)

  it("checks the arguments first", function()
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

  it("raises on misuse", function()
    local client = connect(serve(OK))
    assert.error_matches(function() client:submit("cancel_ordre", ORDER) end, "cancel_ordre")
    assert.error_matches(function() client:submit("cancel_order") end, "table")
    assert.error_matches(function() client:submit("cancel_order", 1) end, "table")
    client:close()
    assert.error_matches(function() client:submit("cancel_order", ORDER) end, "closed")
  end)

  it("without a token is an answer, not an error", function()
    local server = serve(OK)
    local client = assert(crux.new{ base_url = server.base_url, token = function() return nil, "none today" end })
    local pending = assert(client:submit("cancel_order", ORDER))
    local _, err = is_done(pending)
    assert.same({ "auth", "not_sent" }, { err.kind, err.outcome })
    assert.equal(pending, client:step())
    client:close()
  end)
end)

describe("poll", function()
  it("is false while in flight, and allocates nothing", function()
    local client = connect(serve(HOLD))
    local pending = client:submit("cancel_order", ORDER)
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
    assert.equal(0, polls)
    assert.equal(0, least)
    assert.equal(1, select("#", pending:poll()))
  end)

  it("says the same for ever, also after close", function()
    local client = connect(serve(OK))
    local pending = client:submit("cancel_order", ORDER)
    until_true(function() return pending:poll() end)
    local result = is_done(pending)
    assert.equal(204, result.status)
    client:close()
    assert.equal(result, (is_done(pending)))
    client = nil -- luacheck: ignore
    clients = {}
    collectgarbage()
    collectgarbage()
    assert.equal(result, (is_done(pending)))
  end)

  it("hands out an err the same way", function()
    local client = connect(serve("conn:request() conn:rst()"))
    local pending = client:submit("cancel_order", ORDER)
    until_true(function() return pending:poll() end)
    local result, err = is_done(pending)
    assert.is_nil(result)
    assert.same({ "unknown", "network" }, { err.outcome, err.kind })
  end)
end)

describe("wait", function()
  it("gives a call so many seconds, and no more", function()
    local client = connect(serve(HOLD))
    local pending = client:submit("cancel_order", ORDER)
    for _, seconds in ipairs{ 0, 0.05, 0.3 } do
      local before = core.now()
      assert.is_false((pending:wait(seconds)))
      local took = core.now() - before
      assert.is_true(took >= seconds - 0.001 and took < seconds + 0.25, took .. " for " .. seconds)
    end
  end)

  it("raises where it would wait for itself: in the call's own on_event", function()
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

  it("ends as soon as the call is done", function()
    local client = connect(serve("conn:request() conn:sleep(0.2) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') conn:request()"))
    local before = core.now()
    assert.is_true(client:submit("cancel_order", ORDER):wait(5))
    assert.is_true(core.now() - before < 1)
  end)

  it("raises for what is no number, and does not wait for it", function()
    local pending = connect(serve(HOLD)):submit("cancel_order", ORDER)
    local before = core.now()
    for _, value in ipairs{ false, true, "5", {}, 0 / 0 } do
      assert.error_matches(function() pending:wait(value) end, "expected a number of seconds")
    end
    assert.is_false(pending:wait(-1))
    assert.is_true(core.now() - before < 2)
  end)

  it("ends when a hook that runs meanwhile gives the call up or closes the client", function()
    local server = serve(HOLD)
    for _, what in ipairs{ "abort", "close" } do
      local client = connect(server)
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
      local ok, done = pcall(pending.wait, pending, 5)
      debug.sethook(hook, mask, count)
      assert.same({ true, true }, { ok, done })
      assert.is_true(core.now() - before < 3)
      assert.equal("aborted", select(2, is_done(pending)).kind)
    end
  end)

  it("carries a call through its pauses, using no processor meanwhile", function()
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

describe("step", function()
  it("returns each done call once, in whatever way it became done", function()
    local held, quick = connect(serve(HOLD)), connect(serve(OK))
    local expected = {}
    for i = 1, 5 do
      local pending = quick:submit("cancel_order", ORDER)
      expected[pending] = true
      if i % 2 == 0 then pending:wait() end -- polled ones too
    end
    assert.equal(3, quick:in_flight())
    for _, pending in ipairs(drain(quick)) do
      assert.is_true(expected[pending])
      expected[pending] = nil
      assert.equal(204, is_done(pending).status)
    end
    assert.is_nil(next(expected))
    assert.is_nil(quick:step())

    local first, second = held:submit("cancel_order", ORDER), held:submit("cancel_order", ORDER)
    assert.is_nil(held:step())
    assert.equal(2, held:in_flight())
    second:abort() -- aborted ones too
    assert.equal(1, held:in_flight())
    assert.equal(second, held:step())
    assert.is_nil(held:step())
    first:abort()
    assert.equal(first, held:step())
    assert.is_nil(held:step())
  end)

  it("returns a hundred, in any order", function()
    local client = connect(serve("while conn:request() do conn:sleep(n % 3 / 100) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end"))
    local expected, keep = {}, {}
    for i = 1, 100 do
      keep[i] = client:submit("cancel_order", ORDER)
      expected[keep[i]] = true
    end
    for _, pending in ipairs(drain(client)) do
      assert.is_true(expected[pending])
      expected[pending] = nil
    end
    assert.is_nil(next(expected))
  end)

  it("does not return one that was dropped, and ends it", function()
    local server = serve(HOLD)
    local client = connect(server)
    client:submit("cancel_order", ORDER)
    until_true(function() return server:record().requests == 1 end)
    collectgarbage()
    collectgarbage()
    until_true(function() return server:record().conns[1].eof end)
    assert.is_nil(client:step())
    assert.equal(0, client:in_flight())
  end)

  it("makes no further attempt after the deadline, however late it is called", function()
    local server = serve(ANSWERS, { answers = { helper.response(429, "", { "Retry-After: 0" }), helper.response(204) } })
    local client = connect(server, { timeout = 0.3 })
    local pending = client:submit("cancel_order", ORDER)
    until_true(function()
      pending:poll()
      return client:timeout()
    end)
    core.sleep(0.4) -- a host that is busy with other things
    assert.is_true(pending:wait(5))
    local _, err = is_done(pending)
    assert.same({ "rejected", 429, 2, 1 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends })
    assert.equal(1, server:record().requests)
  end)

  it("makes no further attempt at one that was dropped", function()
    local events = 0
    local client = connect(refused(), { on_event = function(e) if e.name == "request" then events = events + 1 end end })
    client:submit("cancel_order", ORDER)
    core.sleep(0.05)
    collectgarbage()
    collectgarbage()
    for _ = 1, 60 do
      assert.is_nil(client:step())
      core.sleep(0.01)
    end
    assert.equal(1, events)
    assert.equal(0, client:in_flight())
    assert.is_nil(client:timeout())
  end)

  it("raises what on_event raises of an attempt that was not sent: one before it was", function()
    local server = serve("conn:request() conn:write(shared.answer) conn:fin()",
      { answer = helper.response(429, "", { "Retry-After: 1", "Connection: close" }) })
    local client = connect(server, {
      on_event = function(e) if e.name == "response" and e.attempt == 2 then error("mine", 0) end end,
    })
    local pending = client:submit("cancel_order", ORDER)
    until_true(function()
      pending:poll()
      return client:timeout()
    end)
    server:close() -- so that the next attempt finds nobody
    local ok, why = pcall(pending.wait, pending)
    assert.same({ false, "mine" }, { ok, why })
    local _, err = is_done(pending)
    assert.same({ "rejected", 429, 2, 1 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends })
  end)

  it("raises what on_event raises, and the call is done with what is known", function()
    local client = connect(serve(OK), { on_event = function(e) if e.name == "response" then error("mine", 0) end end })
    local pending = client:submit("cancel_order", ORDER)
    forks.readable(client:pollfd(), 5)
    local ok, why = pcall(client.step, client)
    assert.is_false(ok)
    assert.equal("mine", why)
    assert.equal(204, is_done(pending).status)
    assert.equal(pending, client:step())
    assert.is_nil(client:step())
  end)
end)

describe("abort", function()
  it("before anything was sent is not_sent", function()
    local silent = fault.silent()
    servers[#servers + 1] = silent
    local client = connect(silent)
    local pending = client:submit("cancel_order", ORDER)
    pending:abort()
    local result, err = is_done(pending)
    assert.is_nil(result)
    assert.same({ "not_sent", "aborted", 0, 1, false },
      { err.outcome, err.kind, err.meta.sends, err.meta.attempts, err.retryable })
  end)

  it("after that is unknown, and ends the connection", function()
    local server = serve(HOLD)
    local client = connect(server)
    for name, retryable in pairs{ cancel_order = false, get_order = true } do
      local pending = client:submit(name, { order_uuid = helper.ORDER })
      until_true(function() return server:record().requests == 1 end)
      pending:abort()
      local _, err = is_done(pending)
      assert.same({ "unknown", "aborted", 1, 1, retryable },
        { err.outcome, err.kind, err.meta.sends, err.meta.attempts, err.retryable })
      until_true(function() return server:record().conns[1].eof end)
      server:record(true)
    end
  end)

  it("claims what the server's record supports, whenever it comes", function()
    local server = serve("while conn:request() do conn:sleep(0.002) conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end")
    local client = connect(server)
    local seen = {}
    for i = 1, 200 do
      local uuid = ("54a31ec5-b0be-4a92-af4c-%012x"):format(i)
      local pending = client:submit("cancel_order", { order_uuid = uuid })
      core.sleep(i % 20 * 0.0003)
      pending:abort()
      local result, err = is_done(pending)
      seen[i] = { uuid = uuid, outcome = (result or err).outcome }
    end
    core.sleep(0.1)
    local sent = ""
    for _, conn in ipairs(server:record().conns) do sent = sent .. conn.data end
    local counts = {}
    for _, one in ipairs(seen) do
      counts[one.outcome] = (counts[one.outcome] or 0) + 1
      if sent:find(one.uuid, 1, true) then assert.not_equal("not_sent", one.outcome) end
      if one.outcome == "accepted" then assert.truthy(sent:find(one.uuid, 1, true)) end
    end
    assert.truthy(counts.unknown)
  end)

  it("in a pause makes no other attempt", function()
    local server = serve("conn:request() conn:write(shared.answer)",
      { answer = helper.response(429, "", { "Retry-After: 1", "Connection: close" }) })
    local client = connect(server)
    local pending = client:submit("cancel_order", ORDER)
    until_true(function()
      pending:poll()
      return client:timeout()
    end)
    pending:abort()
    local _, err = is_done(pending)
    assert.same({ "unknown", "aborted", 1 }, { err.outcome, err.kind, err.meta.sends })
    assert.equal(pending, client:step())
    assert.is_nil(client:timeout())
    core.sleep(1.1)
    assert.is_nil(client:step())
    assert.equal(1, server:record().requests)
  end)

  it("from inside on_event or a token function holds from then on: nothing is sent, and no answer changes it", function()
    for _, place in ipairs{ "request2", "response1", "response2", "retry1", "token2", "token after 401" } do
      local status = place == "token after 401" and 401 or 429
      local server = serve(ANSWERS, { answers = { helper.response(status, "", { "Retry-After: 0" }),
        helper.response(204) } })
      local pending, outcome, asked, said = nil, nil, 0, {}
      local function at(here)
        if outcome then said[#said + 1] = here end
        if here ~= place then return end
        pending:abort()
        local done, result, err = pending:poll()
        assert.is_true(done)
        outcome = { result, err }
      end
      local client = connect(server, {
        on_event = function(e) at(e.name .. e.attempt) end,
        token = function(again)
          asked = asked + 1
          at(again and "token after 401" or "token" .. asked)
          return helper.TOKEN .. asked
        end,
      })
      pending = client:submit("cancel_order", ORDER)
      assert.same({ pending }, drain(client))
      assert.truthy(outcome, place)
      local result, err = is_done(pending)
      assert.is_nil(result)
      assert.equal(outcome[2], err)
      assert.same({ "aborted", "unknown" }, { err.kind, err.outcome })
      assert.same({}, said)
      core.sleep(0.02)
      assert.equal(place == "response2" and 2 or 1, server:record().requests, place)
      assert.same({ 0, nil }, { client:in_flight(), client:timeout() })
    end
  end)

  it("leaves a finished one its result", function()
    local client = connect(serve(OK))
    local pending = client:submit("cancel_order", ORDER)
    pending:wait()
    pending:abort()
    assert.equal(204, is_done(pending).status)
    pending = client:submit("cancel_order", ORDER)
    forks.readable(client:pollfd(), 5) -- finished, though nobody has asked
    core.sleep(0.1)
    pending:abort()
    assert.equal(204, is_done(pending).status)
  end)

  it("by a finalizer that runs while the answer is made into values is the end of it", function()
    local long = "[" .. ("[1,2,3],"):rep(20000) .. "1]" -- long enough for a whole collection
    local server = serve(ANSWERS, { answers = { helper.response(200, long), helper.response(200, long) } })
    -- in a heap that is small
    local said = helper.child([[
      local crux, core = require "crux", require "crux.core"
      local client = crux.new{ token = "pending-spec-token", base_url = "]] .. server.base_url .. [[" }
      for _ = 1, 2 do
        local call = client:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
        core.sleep(0.3)
        local ran = false
        local function finalizer()
          ran = true
          call:abort()
          call:poll()
        end
        collectgarbage()
        if rawget(_G, "newproxy") then getmetatable(newproxy(true)).__gc = finalizer
        else setmetatable({}, { __gc = finalizer }) end
        print(client:step() == call, ran, client:step(), client:in_flight())
        local _, result, err = call:poll()
        print(result, err.outcome, err.kind, err.meta.sends)
      end
    ]])
    assert.equal(("true\ttrue\tnil\t0\nnil\tunknown\taborted\t1\n"):rep(2):sub(1, -2), said)
  end)

  it("that runs out of memory is true all the same, and comes to its end when asked again", function()
    local client = connect(serve(HOLD))
    local failure = core.failure
    finally(function() core.failure = failure end)
    for _, again in ipairs{ "abort", "poll", "wait", "close" } do
      local call = client:submit("cancel_order", ORDER)
      core.sleep(0.1)
      core.failure = function() error("not enough memory", 0) end
      assert.is_false((pcall(call.abort, call)))
      core.failure = failure
      if again == "close" then client:close() else call[again](call) end
      local _, err = is_done(call)
      assert.same({ "unknown", "aborted", 1 }, { err.outcome, err.kind, err.meta.sends }, again)
      assert.equal(0, client:in_flight())
    end
  end)

  it("by a finalizer that runs while the call ends anyway raises nothing, and the first end holds", function()
    local failure, redact = core.failure, core.redact
    finally(function() core.failure, core.redact = failure, redact end)
    local call, first
    -- as a collection would in there
    local function meanwhile(made)
      return function(...)
        core.failure, core.redact = failure, redact
        call:abort()
        first = select(3, call:poll())
        return made(...)
      end
    end
    call = connect(serve(HOLD)):submit("cancel_order", ORDER)
    core.failure = meanwhile(failure)
    call:abort()
    assert.equal(first, select(2, is_done(call)))

    local answers = { helper.response(429, "", { "Retry-After: 0" }), helper.response(422, '"no"') }
    local client = connect(serve(ANSWERS, { answers = answers }), { token = function() return helper.TOKEN end })
    call, first = client:submit("cancel_order", ORDER), nil
    core.redact = meanwhile(redact)
    assert.same({ call }, drain(client))
    assert.equal(first, select(2, is_done(call)))
    assert.equal("aborted", first.kind)
  end)

  it("by a finalizer that runs while an event is made leaves that its method and URL", function()
    local server = serve(ANSWERS, { answers = { helper.response(429, "", { "Retry-After: 0" }), helper.response(204) } })
    local call
    local client = connect(server, { on_event = function(e) assert(e.url:find("/orders/cancel/", 1, true)) end })
    local methods = getmetatable(client:prepare("cancel_order", ORDER).request).__index
    local describe_request = methods.describe
    finally(function() methods.describe = describe_request end)
    methods.describe = function(request)
      if call then call:abort() end
      return describe_request(request)
    end
    call = client:submit("cancel_order", ORDER)
    assert.same({ call }, drain(client))
    is_done(call)
  end)

  it("again does nothing", function()
    local client = connect(serve(HOLD))
    local pending = client:submit("cancel_order", ORDER)
    pending:abort()
    local _, err = is_done(pending)
    pending:abort()
    assert.equal(err, select(2, is_done(pending)))
    assert.equal(pending, client:step())
    assert.is_nil(client:step())
  end)
end)

describe("for any loop,", function()
  it("pollfd is readable while step has something to do", function()
    local server = serve("conn:request() conn:sleep(0.1) conn:write(shared.answer) conn:request()",
      { answer = helper.response(204) })
    local client = connect(server)
    local fd = client:pollfd()
    assert.equal("number", type(fd))
    if math.type then assert.equal("integer", math.type(fd)) end
    assert.equal("r", client:events())
    assert.is_nil(client:timeout())
    assert.is_false(forks.readable(fd, 0))

    local keep = { client:submit("cancel_order", ORDER), client:submit("cancel_order", ORDER) }
    assert.is_nil(client:step())
    assert.is_false(forks.readable(fd, 0))
    assert.is_nil(client:timeout())
    local seen = 0
    while seen < 2 do
      assert.is_true(forks.readable(fd, 5))
      assert.equal(fd, client:pollfd())
      if client:step() then seen = seen + 1 end
    end
    assert.is_nil(client:step())
    assert.is_false(forks.readable(fd, 0))

    -- polled, but not yet returned by step
    keep[1] = client:submit("cancel_order", ORDER)
    keep[1]:wait()
    assert.is_true(forks.readable(fd, 0))
    assert.equal(keep[1], client:step())
    client:step()
    assert.is_false(forks.readable(fd, 0))

    -- and aborted
    keep[1] = client:submit("cancel_order", ORDER)
    keep[1]:abort()
    assert.is_true(forks.readable(fd, 0))
    assert.equal(keep[1], client:step())
    client:step()
    assert.is_false(forks.readable(fd, 0))
  end)

  it("timeout is when the next pause ends", function()
    local client = connect(serve("conn:request() conn:write(shared.answer)",
      { answer = helper.response(429, "", { "Retry-After: 1", "Connection: close" }) }))
    local pending = client:submit("cancel_order", ORDER)
    assert.is_nil(client:timeout())
    forks.readable(client:pollfd(), 5)
    assert.is_nil(client:step())
    local timeout = client:timeout()
    assert.is_true(timeout > 0.5 and timeout <= 1, timeout)
    if forks.readable(client:pollfd(), 0) then assert.is_nil(client:step()) end -- a ring that came late
    assert.is_false(forks.readable(client:pollfd(), 0))
    core.sleep(timeout)
    assert.equal(0, client:timeout())
    assert.is_nil(client:step())
    timeout = client:timeout() -- nil while the attempt is under way, which a quick server has ended by now
    assert.is_true(timeout == nil or timeout > 0.5, tostring(timeout))
    pending:abort()
    assert.equal(0, client:timeout())
  end)

  it("a client is what cqueues.poll takes", function()
    local has, cqueues = pcall(require, "cqueues")
    if not has then return pending("lua-cqueues is not installed for this Lua: " .. tostring(cqueues)) end
    local client = connect(serve(OK))
    local call = client:submit("cancel_order", ORDER)
    local done
    local loop = cqueues.new()
    loop:wrap(function()
      repeat
        cqueues.poll(client)
        done = client:step()
      until done
    end)
    assert(loop:loop(5))
    assert.equal(call, done)
  end)
end)

describe("the life of a client:", function()
  it("a pending keeps it", function()
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

  it("a client can be closed by a finalizer while a call is prepared", function()
    -- AddressSanitizer sees what goes wrong, if it does
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

  it("ended by lua_close, leaves a finalizer of the host's that still waits an answer", function()
    -- older than crux, so that it is the last to be called
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
      local client = crux.new{ token = "pending-spec-token", base_url = "]] .. serve(HOLD).base_url .. [[" }
      call = client:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
      core.sleep(0.1)
    ]])
    assert.equal(("true\tnil\taborted\tunknown\n"):rep(2):sub(1, -2), said)
  end)

  it("is not made longer by a host that waits for calls and never steps #stock", function()
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
    local before = use(100)
    local more = use(400) - before
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
    clients[#clients + 1] = client
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
    local scheduler = Scheduler.new({}, {})
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

  it("ends, and what it holds with it, when it is collected", function()
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
    for _ = 1, 3 do collectgarbage() end
    -- connections of earlier specs may end meanwhile
    local after = forks.descriptors()
    assert.is_true(not before or after <= before, ("expected at most %s descriptors, found %s"):format(before, after))
  end)

  it("after close every call is done, and the other methods raise", function()
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

  it("close from inside on_event leaves everything done", function()
    local client
    client = connect(serve(OK), { on_event = function(e) if e.name == "response" then client:close() end end })
    local calls = { client:submit("cancel_order", ORDER), client:submit("cancel_order", ORDER) }
    calls[1]:wait()
    for _, call in ipairs(calls) do is_done(call) end
    assert.equal(0, client:in_flight())
  end)

  it("close from inside a blocking call gives that up", function()
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

  it("close from inside on_event is no error of the step that calls it", function()
    local client
    client = connect(serve(OK), { on_event = function(e) if e.name == "response" then client:close() end end })
    local calls = { client:submit("cancel_order", ORDER), client:submit("cancel_order", ORDER) }
    forks.readable(client:pollfd(), 5)
    assert.is_nil(client:step())
    for _, call in ipairs(calls) do is_done(call) end
    assert.error_matches(function() client:step() end, "closed")
  end)
end)

-- One policy: the same cases, blocking and in each of the ways a call can be carried on.
describe("submitted or not,", function()
  local function by_wait(client, name, arguments) return select(2, assert(client:submit(name, arguments)):wait()) end

  local drivers = {
    { "submit and wait", by_wait },
    { "submit and poll", function(client, name, arguments)
      local call = assert(client:submit(name, arguments))
      until_true(function() return call:poll() end)
      return is_done(call)
    end },
    { "submit and step", function(client, name, arguments)
      local call = assert(client:submit(name, arguments))
      assert.same({ call }, drain(client))
      return is_done(call)
    end },
  }

  local too_many = helper.response(429, '{"detail":"slow down"}', { "Retry-After: 0" })
  local later = helper.response(429, "", { "Retry-After: 60" })
  local busy = helper.response(503, "<html>")
  local fine = helper.response(200, '{"a":[1,2]}')
  local nobody = helper.response(401, '{"detail":"Invalid token."}')

  local cases = {
    { "an answer", answers = { fine } },
    { "an answer without a body", answers = { helper.response(204) } },
    { "a rejection", answers = { helper.response(422, '{"skus":[{},{"quantity":["Too many."]}]}') } },
    { "a 5xx", answers = { busy } },
    { "a 5xx to a get", call = "get_order", answers = { busy, busy, fine } },
    { "a 5xx to every get", call = "get_order", answers = { busy, busy, busy, busy } },
    { "429 and then an answer", answers = { too_many, too_many, fine } },
    { "429 for ever", answers = { too_many, too_many, too_many, too_many } },
    { "429 and no retries", answers = { too_many, fine }, options = { retries = 0 } },
    { "429 until after the deadline", answers = { later, fine } },
    { "a refused port", refused = true },
    { "a refused port, and no retries", refused = true, options = { retries = 0 } },
    { "a deadline", script = HOLD, options = { timeout = 0.2 } },
    { "a deadline that ends a get's retries", call = "get_order", script = HOLD, options = { timeout = 0.2 } },
    { "a reset", script = "conn:request() conn:rst()" },
    { "a head cut off", answers = { "HTTP/1.1 200 OK\r\nX: y" }, close = true },
    { "a body cut off", answers = { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}" }, close = true },
    { "401 and a new token", answers = { nobody, fine }, token = { "first-token-00000", "second-token-11111" } },
    { "401 and a new token that is no better", answers = { nobody, nobody, fine }, token = { "first-token-00000", "second-token-11111" } },
    { "401 and the same token", answers = { nobody, fine }, token = { "first-token-00000", "first-token-00000" } },
    { "401 and no retries", answers = { nobody, fine }, token = { "first-token-00000", "second-token-11111" }, options = { retries = 0 } },
    { "401 and a token that is a string", answers = { nobody, fine } },
    { "no token", token = {}, answers = { fine } },
    { "no token for the second attempt", token = { "first-token-00000" }, answers = { too_many, fine } },
    { "a token function that raises", options = { token = function() error("secret") end }, answers = { fine } },
    { "an on_event that raises at the request", raises = "request", answers = { fine } },
    { "an on_event that raises at the response", raises = "response", answers = { fine } },
    { "an on_event that raises at the retry", raises = "retry", answers = { too_many, fine } },
  }

  -- What a case comes to, less what differs from run to run.
  local function outcome_of(case, carry)
    local server
    if case.refused then server = refused()
    else
      server = serve(case.script or (case.close and "conn:request() conn:write(shared.answers[1]) conn:fin()" or ANSWERS),
        { answers = case.answers or {} })
    end
    local story = {}
    local options = {
      on_event = function(e)
        helper.clean(e)
        story[#story + 1] = table.concat({ e.name, e.attempt, e.method, e.outcome or "-", e.kind or "-", e.status or "-",
          e.pause and "pause" or "-" }, " ")
        if e.name == case.raises then error("raised at " .. e.name, 0) end
      end,
    }
    if case.token then
      local asked = 0
      options.token = function(again)
        asked = asked + 1
        story[#story + 1] = "token " .. tostring(again)
        if not case.token[asked] then return nil, "no more of them" end
        return case.token[asked]
      end
    end
    for name, value in pairs(case.options or {}) do options[name] = value end
    local client = connect(server, options)
    local name = case.call or "cancel_order"
    local ok, result, err = pcall(carry, client, name, name == "get_order" and { order_uuid = helper.ORDER } or ORDER)
    local answer = ok and (result or err) or {}
    if ok then helper.check(result, err) else story[#story + 1] = tostring(result) end
    local meta = answer.meta or {}
    return {
      story = story, outcome = answer.outcome, kind = answer.kind, status = answer.status, retryable = answer.retryable,
      message = answer.message, detail = answer.detail, fields = answer.fields, raw = answer.raw, hint = answer.hint,
      attempts = meta.attempts, sends = meta.sends, bytes_sent = meta.bytes_sent, body_error = meta.body_error,
      requests = not case.refused and server:record().requests or 0,
      in_flight = client:in_flight(),
    }
  end

  -- pauses at random are short ones here
  local random = core.random
  setup(function() core.random = function() return 0.05 end end)
  teardown(function() core.random = random end)

  for _, case in ipairs(cases) do
    it("a call comes to the same: " .. case[1], function()
      local expected = outcome_of(case, function(client, name, arguments) return client[name](client, arguments) end)
      assert.is_true(#expected.story > 0 or expected.kind == "auth")
      -- a port in a message differs
      local function less(found)
        found.message = found.message and found.message:gsub("%d+ ms", "ms"):gsub(":%d+", ":port"):gsub("port %d+", "port")
        return found
      end
      less(expected)
      for _, driver in ipairs(drivers) do
        local found = less(outcome_of(case, driver[2]))
        assert.same(expected, found, driver[1])
      end
    end)
  end
end)
