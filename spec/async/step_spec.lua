-- client:step, and what an event loop needs beside it: pollfd, events and timeout.
local async = require "spec.support.async"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local ORDER, OK, HOLD, ANSWERS = async.ORDER, async.OK, async.HOLD, async.ANSWERS
local serve, refused, connect = async.serve, async.refused, async.connect
local until_true, is_done, drain = async.until_true, async.is_done, async.drain

after_each(async.close_all)
teardown(fault.stop)

describe("client:step", function()
  it("returns each finished call once: polled, waited for or aborted", function()
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

  it("returns 100 calls that finish in any order", function()
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

  it("does not return a collected pending, whose connection is closed", function()
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

  it("starts no retry after the deadline", function()
    local server = serve(ANSWERS, { answers = { helper.response(429, "", { "Retry-After: 0" }), helper.response(204) } })
    local client = connect(server, { timeout = 1.5 })
    local pending = client:submit("cancel_order", ORDER)
    until_true(function()
      pending:poll()
      return client:timeout()
    end)
    core.sleep(1.6) -- a host that is busy with other things
    assert.is_true(pending:wait(5))
    local _, err = is_done(pending)
    assert.same({ "rejected", 429, 2, 1 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends })
    assert.equal(1, server:record().requests)
  end)

  it("starts no retry of a collected pending", function()
    local events = 0
    local client = connect(refused(), { on_event = function(e) if e.name == "request" then events = events + 1 end end })
    do
      local pending = client:submit("cancel_order", ORDER)
      assert.is_true(forks.readable(client:pollfd(), 10)) -- the first attempt has failed
      assert.equal(1, events, tostring(pending))
    end
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

  it("keeps what was sent when Ctrl-C ends on_event at an unsent attempt after it", function()
    local server = serve("conn:request() conn:write(shared.answer) conn:fin()",
      { answer = helper.response(429, "", { "Retry-After: 2", "Connection: close" }) })
    local client = connect(server, {
      on_event = function(e) if e.name == "response" and e.attempt == 2 then error("interrupted!", 0) end end,
    })
    local pending = client:submit("cancel_order", ORDER)
    until_true(function()
      pending:poll()
      return client:timeout()
    end)
    server:close() -- so that the next attempt finds nobody
    local ok, why = pcall(pending.wait, pending)
    assert.same({ false, "interrupted!" }, { ok, why })
    local _, err = is_done(pending)
    assert.same({ "rejected", 429, 2, 1 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends })
  end)

  it("passes on a Ctrl-C in on_event, and the call is done", function()
    local client = connect(serve(OK), { on_event = function(e) if e.name == "response" then error("interrupted!", 0) end end })
    local pending = client:submit("cancel_order", ORDER)
    forks.readable(client:pollfd(), 5)
    local ok, why = pcall(client.step, client)
    assert.is_false(ok)
    assert.equal("interrupted!", why)
    assert.equal(204, is_done(pending).status)
    assert.equal(pending, client:step())
    assert.is_nil(client:step())
  end)
end)

describe("for an event loop,", function()
  it("client:pollfd is readable while step has something to return", function()
    local server = serve("conn:request() conn:sleep(0.1) conn:write(shared.answer) conn:request()",
      { answer = helper.response(204) })
    local client = connect(server)
    local fd = client:pollfd()
    assert.equal("number", type(fd))
    local math_type = rawget(math, "type")
    if math_type then assert.equal("integer", math_type(fd)) end
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

    -- aborted
    keep[1] = client:submit("cancel_order", ORDER)
    keep[1]:abort()
    assert.is_true(forks.readable(fd, 0))
    assert.equal(keep[1], client:step())
    client:step()
    assert.is_false(forks.readable(fd, 0))
  end)

  it("client:timeout is the time until the next retry", function()
    local client = connect(serve("conn:request() conn:write(shared.answer)",
      { answer = helper.response(429, "", { "Retry-After: 2", "Connection: close" }) }))
    local pending = client:submit("cancel_order", ORDER)
    assert.is_nil(client:timeout())
    forks.readable(client:pollfd(), 5)
    assert.is_nil(client:step())
    local timeout = client:timeout()
    assert.is_true(timeout > 0.5 and timeout <= 2, timeout)
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

  it("cqueues.poll accepts a client", function()
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
