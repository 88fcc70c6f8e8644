-- One login at a time: calls that wait for a login in the hosts of plain Lua, what ends such a wait,
-- and what a login's own functions may do.
local async = require "spec.support.async"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local logins = require "spec.support.logins"

local ORDER = { order_uuid = helper.ORDER }

after_each(function()
  async.close_all()
  logins.close()
end)
teardown(fault.stop)

local function submit(client, count, more)
  local list = {}
  for i = 1, count do
    local arguments = { order_uuid = helper.ORDER }
    for name, value in pairs(more or {}) do arguments[name] = value end
    list[i] = assert(client:submit("cancel_order", arguments))
  end
  return list
end

local function outcomes(list)
  local counts = {}
  for _, pending in ipairs(list) do
    local result, err = async.is_done(pending)
    local outcome = (result or err).outcome
    counts[outcome] = (counts[outcome] or 0) + 1
  end
  return counts
end

describe("submitted calls without a token", function()
  it("wait for one login, and are all returned by step", function()
    local service = logins.serve{ delay = 0.1 }
    local client = logins.client(service)
    local list = submit(client, 50)
    assert.equal(50, client:in_flight())
    local returned = async.drain(client)
    assert.same({ accepted = 50 }, outcomes(list))
    assert.equal(50, #returned)
    assert.equal(1, #service:logins())
    assert.equal(0, client:in_flight())
  end)

  it("are not waited for by submit, poll and step", function()
    local service = logins.serve{ delay = 0.5 }
    local client = logins.client(service)
    local before = core.now()
    local list = submit(client, 20)
    for _, pending in ipairs(list) do assert.is_false(pending:poll()) end
    assert.is_nil(client:step())
    assert.is_true(core.now() - before < 0.4)
    for _, pending in ipairs(list) do pending:wait() end
    assert.same({ accepted = 20 }, outcomes(list))
  end)

  it("go on by poll alone", function()
    local service = logins.serve{ delay = 0.05 }
    local list = submit(logins.client(service), 3)
    async.until_true(function()
      local all = true
      for _, pending in ipairs(list) do all = pending:poll() and all end
      return all
    end)
    assert.same({ accepted = 3 }, outcomes(list))
  end)

  it("go on by an event loop that watches pollfd and timeout", function()
    local service = logins.serve{ delay = 0.05 }
    local client = logins.client(service)
    local list = submit(client, 5)
    async.drain(client)
    assert.same({ accepted = 5 }, outcomes(list))
  end)

  it("end at their own deadline, and the login goes on", function()
    local service = logins.serve{ delay = 0.5 }
    local client = logins.client(service)
    local short = submit(client, 1, { timeout = 0.1 })[1]
    local long = submit(client, 1)[1]
    local done, _, err = short:wait()
    assert.is_true(done)
    assert.same({ "timeout", "not_sent", true, 0 }, { err.kind, err.outcome, err.retryable, err.meta.attempts })
    assert.equal("login: the deadline passed before it ended", err.message)
    assert.equal("accepted", select(2, long:wait()).outcome)
    assert.equal(1, #service:logins())
  end)

  it("may be aborted or dropped, and the login goes on", function()
    local service = logins.serve{ delay = 0.2 }
    local client = logins.client(service)
    local list = submit(client, 3)
    list[1]:abort()
    local _, err = async.is_done(list[1])
    assert.same({ "aborted", "not_sent" }, { err.kind, err.outcome })
    list[2] = nil
    collectgarbage()
    collectgarbage()
    assert.equal("accepted", select(2, list[3]:wait()).outcome)
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal(1, #service:logins())
  end)

  it("all get the error of the login", function()
    local service = logins.serve{ delay = 0.05, answers = { helper.response(401) } }
    local client = logins.client(service)
    local list = submit(client, 10)
    async.drain(client)
    for _, pending in ipairs(list) do
      local _, err = async.is_done(pending)
      assert.same({ "auth", "not_sent", 401 }, { err.kind, err.outcome, err.status })
    end
    assert.equal(1, #service:logins())
    assert.same({}, service:calls())
  end)

  it("end with the client", function()
    local service = logins.serve{ delay = 0.3 }
    local client = logins.client(service)
    local list = submit(client, 2)
    client:close()
    for _, pending in ipairs(list) do
      local _, err = async.is_done(pending)
      assert.same({ "aborted", "not_sent" }, { err.kind, err.outcome })
    end
    assert.equal(0, client:in_flight())
  end)
end)

describe("calls that are refused together", function()
  it("lead to one login", function()
    local service = logins.serve()
    local client = logins.client(service)
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    service:set{ valid_from = 2, delay = 0.05, call_delay = 0.05 }
    local list = submit(client, 20)
    async.drain(client)
    assert.same({ accepted = 20 }, outcomes(list))
    assert.equal(2, #service:logins())
    for _, pending in ipairs(list) do
      local result = select(2, pending:poll())
      assert.same({ 2, 2 }, { result.meta.attempts, result.meta.sends })
    end
  end)

  it("take the newest token, also where each login revokes the one before", function()
    local service = logins.serve{ revokes = true, lifetime = 20, call_delay = 0.005 }
    local client = logins.client(service, { max_connections = 8 })
    local list = submit(client, 200)
    async.drain(client)
    assert.same({ accepted = 200 }, outcomes(list))
    assert.equal(10, #service:logins())
  end)
end)

describe("an order that is refused with any token", function()
  it("leads to five logins at most, though other calls get through", function()
    local service = fault.serve{ script = [[
      while true do
        local request = conn:request()
        if not request then return end
        local is_login, body = request.path:find("user-login", 1, true), ""
        if is_login then
          shared.issued = (shared.issued or 0) + 1
          body = '{"auth_token":"tok-' .. shared.issued .. '"}'
        end
        local status = request.path:find(shared.refused, 1, true) and "401 No" or "200 OK"
        conn:write("HTTP/1.1 " .. status .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
      end
    ]], shared = { refused = helper.ORDER } }
    local client = logins.client(service)
    local pending = assert(client:submit("get_order", ORDER))
    for _ = 1, 200 do
      helper.call(client.get_order, client, { order_uuid = helper.SUPPLIER })
      pending:poll()
    end
    local _, err = async.is_done(pending)
    assert.same({ "auth", "rejected" }, { err.kind, err.outcome })
    assert.is_true(err.meta.attempts <= 6, err.meta.attempts .. " attempts")
    service:close()
  end)
end)

describe("a blocking call", function()
  it("waits for the login of a submitted one", function()
    local service = logins.serve{ delay = 0.2 }
    local client = logins.client(service)
    local pending = submit(client, 1)[1]
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal("accepted", select(2, pending:wait()).outcome)
    assert.equal(1, #service:logins())
  end)

  it("ends at its deadline while it waits for a login", function()
    local service = logins.serve{ delay = 0.5 }
    local client = logins.client(service)
    local _, err = helper.check(client:cancel_order{ order_uuid = helper.ORDER, timeout = 0.1 })
    assert.same({ "timeout", "not_sent" }, { err.kind, err.outcome })
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal(1, #service:logins())
  end)
end)

describe("a batch", function()
  it("logs in once for all its calls, and once for each refused token", function()
    local service = logins.serve{ delay = 0.05 }
    local client = logins.client(service)
    local items = {}
    for i = 1, 40 do items[i] = ORDER end
    local report = client:cancel_orders(items, { concurrency = 8, on_progress = function(done)
      if done == 20 then service:set{ valid_from = 2 } end
    end })
    assert.equal(40, report.counts.accepted)
    assert.equal(2, #service:logins())
  end)

  it("waits for the login of a submitted call", function()
    local service = logins.serve{ delay = 0.2 }
    local client = logins.client(service)
    local pending = submit(client, 1)[1]
    assert.equal(3, client:cancel_orders{ ORDER, ORDER, ORDER }.counts.accepted)
    assert.equal("accepted", select(2, pending:wait()).outcome)
    assert.equal(1, #service:logins())
  end)

  it("keeps its rate after the login", function()
    local service = logins.serve{ delay = 0.3 }
    local starts, items = {}, {}
    local client = logins.client(service, { on_event = function(event)
      if event.name == "request" then starts[#starts + 1] = core.now() end
    end })
    for i = 1, 6 do items[i] = ORDER end
    assert.equal(6, client:cancel_orders(items, { concurrency = 6, rate = 20 }).counts.accepted)
    assert.equal(6, #starts)
    for i = 2, 6 do assert.is_true(starts[i] - starts[i - 1] > 0.049, "gap " .. starts[i] - starts[i - 1]) end
  end)

  it("ends by a login that is refused, and sends nothing", function()
    local service = logins.serve{ delay = 0.05, answers = { helper.response(403) } }
    local client = logins.client(service)
    local items = {}
    for i = 1, 40 do items[i] = ORDER end
    local report = client:cancel_orders(items, { concurrency = 4 })
    assert.equal("stop_on", report.stopped)
    assert.same({ 0, 0, 0, 40 }, { report.counts.accepted, report.counts.unknown, report.counts.rejected,
      report.counts.not_sent + report.counts.not_started })
    assert.same({}, service:calls())
    assert.equal(1, #service:logins())
  end)
end)

describe("a function that a login calls", function()
  it("may make no call that needs the login", function()
    local service = logins.serve()
    local client, why, submitted
    client = logins.client(service, { on_event = function(event)
      if event.name ~= "login" then return end
      local ok
      ok, why = pcall(client.cancel_order, client, ORDER)
      assert(not ok)
      ok, submitted = pcall(client.submit, client, "cancel_order", ORDER)
      assert(not ok)
    end })
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal("a call was made inside a function that the client's login called", why)
    assert.equal(why, submitted)
    assert.equal(1, #service:calls())
  end)

  it("may make a call of another client", function()
    local service = logins.serve()
    local other = logins.client(service)
    local inner
    local client = logins.client(service, { on_event = function(event)
      if event.name == "login" then inner = other:cancel_order(ORDER) end
    end })
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal("accepted", inner.outcome)
  end)

  it("may never return, and the next login goes on", function()
    local service = logins.serve()
    local is_first = true
    local client = logins.client(service, { token_cache = { set = function() end, get = function()
      if is_first then
        is_first = false
        coroutine.yield()
      end
    end } })
    local abandoned = coroutine.wrap(function() return client:cancel_order(ORDER) end)
    abandoned() -- Lua 5.1 cannot yield there: then it ends
    local pending = submit(client, 1)[1]
    assert.equal("accepted", select(2, pending:wait(5)).outcome)
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
  end)

  it("may wait while another coroutine is refused with the token", function()
    local service = logins.serve()
    local is_first = true
    local client = logins.client(service, { on_event = function(event)
      if event.name == "login" and is_first then
        is_first = false
        coroutine.yield()
      end
    end })
    local waiting = coroutine.create(function() return client:cancel_order(ORDER) end)
    assert.is_true(coroutine.resume(waiting))
    if coroutine.status(waiting) == "dead" then return end -- Lua 5.1 cannot yield there
    service:set{ valid_from = 2, delay = 0.05 }
    local result, err = client:cancel_order(ORDER)
    assert.equal("accepted", (result or err).outcome)
    local _, other = coroutine.resume(waiting)
    assert.equal("accepted", other.outcome)
    assert.equal(2, #service:logins())
  end)

  it("shows neither password nor token by what it raises", function()
    local service = logins.serve()
    local function raise() error(("with %s and tok-1"):format(logins.PASSWORD), 0) end
    local client = logins.client(service, { on_event = raise })
    local result = helper.check(client:cancel_order(ORDER))
    assert.equal("with [redacted] and [redacted]", result.meta.event_error)
    client = logins.client(service, { headers = raise })
    local _, err = helper.check(client:cancel_order(ORDER))
    assert.equal("login: headers: the headers function raised an error: with [redacted] and tok-1", err.message)
  end)

  it("may be interrupted right before and after, and the client can be used", function()
    local Session, called = require "crux.session", {}
    for count = 1, 40 do
      local session = setmetatable({ calling = false }, Session)
      pcall(function()
        debug.sethook(function()
          debug.sethook()
          error("interrupted!", 0)
        end, "", count)
        session:inside(function() called[count] = true end)
        debug.sethook()
      end)
      debug.sethook()
      assert.is_false(session.calling, "after " .. count)
    end
    assert.is_true(called[40])
  end)

  it("may close the client", function()
    local service = logins.serve()
    local client
    client = logins.client(service, { on_event = function(event)
      if event.name == "login" then client:close() end
    end })
    local _, err = client:cancel_order(ORDER)
    assert.same({ "aborted", "not_sent" }, { err.kind, err.outcome })
  end)

  it("may raise Ctrl-C, and the token of the login is kept", function()
    local service = logins.serve()
    local armed = true
    local client = logins.client(service, { on_event = function(event)
      if event.name == "login" and armed then
        armed = false
        error("interrupted!", 0)
      end
    end })
    local ok, why = pcall(client.cancel_order, client, ORDER)
    assert.same({ false, "interrupted!" }, { ok, why })
    assert.equal("accepted", client:cancel_order(ORDER).outcome)
    assert.equal(1, #service:logins())
  end)
end)
