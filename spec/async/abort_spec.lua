-- pending:abort: before, during and after an attempt, in callbacks and in finalizers.
local async = require "spec.support.async"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local ORDER, OK, HOLD, ANSWERS = async.ORDER, async.OK, async.HOLD, async.ANSWERS
local serve, silent, connect = async.serve, async.silent, async.connect
local until_true, is_done, drain = async.until_true, async.is_done, async.drain

after_each(async.close_all)
teardown(fault.stop)

describe("pending:abort", function()
  it("before anything was sent gives not_sent", function()
    local client = connect(silent())
    local pending = client:submit("cancel_order", ORDER)
    pending:abort()
    local result, err = is_done(pending)
    assert.is_nil(result)
    assert.same({ "not_sent", "aborted", 0, 1, false },
      { err.outcome, err.kind, err.meta.sends, err.meta.attempts, err.retryable })
  end)

  it("after the request was sent gives unknown, and closes the connection", function()
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

  it("at any moment agrees with the server's record", function()
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

  it("during the pause before a retry prevents the retry", function()
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

  it("from on_event or a token function is final: nothing more is sent", function()
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

  it("keeps the result of a call that has finished", function()
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

  it("by a finalizer while the result is built ends the call as aborted", function()
    local long = "[" .. ("[1,2,3],"):rep(20000) .. "1]" -- long enough for a whole collection
    local server = serve(ANSWERS, { answers = { helper.response(200, long), helper.response(200, long) } })
    -- in a child process, whose heap is small
    local said = helper.child([[
      local crux, forks = require "crux", require "spec.support.forks"
      local client = crux.new{ token = "pending-spec-token", base_url = "]] .. server.base_url .. [[" }
      for _ = 1, 2 do
        local call = client:submit("cancel_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
        forks.readable(client:pollfd(), 20)
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

  it("that runs out of memory still aborts, and the next method completes it", function()
    local server = serve(HOLD)
    local client = connect(server)
    local failure = core.failure
    finally(function() core.failure = failure end)
    for _, again in ipairs{ "abort", "poll", "wait", "close" } do
      local call = client:submit("cancel_order", ORDER)
      until_true(function() return server:record().requests == 1 end)
      server:record(true)
      core.failure = function() error("not enough memory", 0) end
      assert.is_false((pcall(call.abort, call)))
      core.failure = failure
      if again == "close" then client:close() else call[again](call) end
      local _, err = is_done(call)
      assert.same({ "unknown", "aborted", 1 }, { err.outcome, err.kind, err.meta.sends }, again)
      assert.equal(0, client:in_flight())
    end
  end)

  it("by a finalizer while the call finishes is ignored", function()
    local failure, redact = core.failure, core.redact
    finally(function() core.failure, core.redact = failure, redact end)
    local call, first
    -- as a collection in there would
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

  it("by a finalizer while an event is built keeps the event complete", function()
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

  it("twice has no further effect", function()
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
