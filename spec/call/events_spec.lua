-- on_event: which events a call has, in which order, and what may happen inside the callback.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local retrying = require "spec.support.retrying"

local U = helper.ORDER
local answers, cancel, requests, near = retrying.answers, retrying.cancel, retrying.requests, retrying.near

before_each(retrying.open)
after_each(retrying.close)
teardown(fault.stop)

describe("on_event", function()
  local on_event, events
  before_each(function() on_event, events = helper.events() end)

  local URL = "/orders/cancel/"

  -- An event of attempt `n` at the call, less its time.
  local function expected(name, n, more)
    local made = {
      name = name, endpoint = "cancel_order", order_uuid = U, attempt = n, method = "PATCH",
      url = retrying.server.base_url .. URL,
    }
    for key, value in pairs(more or {}) do made[key] = value end
    return made
  end

  local function untimed()
    for _, event in ipairs(events) do
      assert.equal(event.outcome ~= nil, event.elapsed ~= nil)
      assert.is_true((event.elapsed or 0) >= 0)
      event.elapsed = nil
    end
    return events
  end

  it("gets the request and the response", function()
    cancel{ on_event = on_event }
    assert.same({
      expected("request", 1),
      expected("response", 1, { outcome = "accepted", status = 204, sends = 1, reused = false }),
    }, untimed())
  end)

  it("gets errors and retries in order", function()
    answers(helper.response(429, "", { "Retry-After: 2" }), helper.response(422))
    cancel{ on_event = on_event }
    local first = {
      outcome = "rejected", kind = "http", status = 429, sends = 1, reused = false,
      reason = "HTTP 429 Too Many Requests",
    }
    local retry = { pause = 2 }
    for key, value in pairs(first) do retry[key] = value end
    assert.same({
      expected("request", 1), expected("response", 1, first), expected("retry", 1, retry), expected("request", 2),
      expected("response", 2, {
        outcome = "rejected", kind = "http", status = 422, sends = 1, reused = true,
        reason = "HTTP 422 Unprocessable Entity",
      }),
    }, untimed())
    near(2, retrying.pauses[1])
  end)

  it("gets the order of a call that has it in its path", function()
    local order = "ABCDEF01-b0be-4a92-af4c-1b75fe8e6e29"
    for _, base_url in ipairs{ retrying.server.base_url, retrying.server.base_url .. "/a/b{order_uuid}" } do
      for _, api in ipairs{ "v1", "timp" } do
        retrying.get{ on_event = on_event, order_uuid = order, api = api, base_url = base_url }
        assert.same({ "get_order", order }, { events[#events].endpoint, events[#events].order_uuid })
      end
    end
    assert.equal(8, #events)
  end)

  it("gets the order of the arguments and not one that a text among them names", function()
    cancel{ on_event = on_event, skus = { { supplier_uuid = helper.SUPPLIER, sku_id = '"order_uuid":"' .. helper.SUPPLIER } } }
    assert.equal(U, events[1].order_uuid)
  end)

  it("gets attempts that were not sent", function()
    local refused = fault.refused()
    cancel{ base_url = refused.base_url, on_event = on_event, retries = 1 }
    local names = {}
    for i, event in ipairs(events) do names[i] = event.name .. event.attempt .. tostring(event.kind) end
    assert.same({ "request1nil", "response1connect", "retry1connect", "request2nil", "response2connect" }, names)
    near(0.4995, events[3].pause)
    refused:close()
  end)

  it("gets the retry with a new token after 401", function()
    answers(helper.response(401), helper.response(204))
    local calls = 0
    cancel{ on_event = on_event, token = function()
      calls = calls + 1
      return "secret-token-" .. calls
    end }
    local names = {}
    for i, event in ipairs(events) do
      names[i] = event.name .. tostring(event.kind)
      helper.clean(event, "secret-token")
    end
    assert.same({ "requestnil", "responseauth", "retryauth", "requestnil", "responsenil" }, names)
    assert.equal(0, events[3].pause)
  end)

  it("gets nothing for invalid arguments or a missing token", function()
    cancel{ on_event = on_event, order_uuid = "no" }
    local without = assert(crux.new{ base_url = retrying.server.base_url, on_event = on_event })
    local _, err = helper.call(without.cancel_order, without, { order_uuid = U })
    assert.same({ "auth", 0 }, { err.kind, err.meta.attempts })
    _, err = select(2, without:submit("cancel_order", { order_uuid = U }):wait())
    assert.same({ "auth", 0 }, { err.kind, err.meta.attempts })
    without:close()
    assert.same({}, events)
  end)

  it("can raise an error, which does not end the call and is in meta.event_error", function()
    for raised, text in pairs{
      ["the disk is full"] = "the disk is full",
      [setmetatable({}, { __tostring = function() return "an object" end })] = "an object",
      [setmetatable({}, { __tostring = function() error("again") end })] = "an error that is a table",
      ["two\nlines of " .. helper.TOKEN] = "two lines of [redacted]",
    } do
      for _, name in ipairs{ "request", "response", "retry" } do
        answers(helper.response(429, "", { "Retry-After: 0" }), helper.response(204))
        retrying.server:set{ count = 0 }
        local count = 0
        local result = cancel{ on_event = function(e)
          count = count + 1
          if e.name == name then error(raised, 0) end
        end }
        assert.same({ "accepted", 204, 2, text }, { result.outcome, result.status, result.meta.attempts, result.meta.event_error })
        assert.same({ 5, 2 }, { count, #requests() })
      end
    end
  end)

  it("can raise several errors, the first of which is kept", function()
    retrying.server:set{ answer = helper.response(422) }
    local _, err = cancel{ on_event = function(e) error(e.name, 0) end }
    assert.same({ "rejected", 422, "request" }, { err.outcome, err.status, err.meta.event_error })
    assert.is_nil(select(2, cancel()).meta.event_error)
  end)

  it("can raise an error with a token of a token function, which is not shown", function()
    answers(helper.response(401), helper.response(204))
    local given = { "first-token-of-a-function", "second-token-of-a-function" }
    local asked = 0
    local result = cancel{
      token = function()
        asked = asked + 1
        return given[asked]
      end,
      on_event = function(e) if e.name == "retry" then error(given[1] .. " then " .. given[2], 0) end end,
    }
    assert.equal("[redacted] then [redacted]", result.meta.event_error)
  end)

  it("can raise an error after it has aborted its own call", function()
    local call
    call = retrying.client:submit("cancel_order", { order_uuid = U, on_event = function(e)
      if e.name ~= "response" then return end
      call:abort()
      error("after that", 0)
    end })
    local _, _, err = call:wait(5)
    -- the token is released with the request, and cannot be looked for in the text any more
    assert.same({ "unknown", "aborted", "an error in on_event" }, { err.outcome, err.kind, err.meta.event_error })
  end)

  -- What lua and luajit raise in a debug hook after SIGINT.
  it("passes on Ctrl-C, and a submitted call is done with what was known", function()
    retrying.server:set{ answer = helper.response(429, "", { "Retry-After: 0" }) }
    local wanted = { request = "not_sent", response = "rejected", retry = "rejected" }
    for name, outcome in pairs(wanted) do
      local function hear(e) if e.name == name then error("spec:1: interrupted!", 0) end end
      local ok, why = pcall(retrying.client.cancel_order, retrying.client, { order_uuid = U, on_event = hear })
      assert.same({ false, "spec:1: interrupted!" }, { ok, why })
      local call
      ok, why = pcall(function()
        call = retrying.client:submit("cancel_order", { order_uuid = U, on_event = hear })
        call:wait(5)
      end)
      assert.same({ false, "spec:1: interrupted!" }, { ok, why })
      if call then -- else it was raised before there was one
        local done, _, err = call:poll()
        assert.same({ true, outcome }, { done, err.outcome })
      else assert.equal("request", name) end
    end
    retrying.server:set{ answer = helper.response(204) }
    assert.equal("accepted", cancel().outcome)
  end)

  it("can make calls", function()
    local inner
    local result = cancel{ on_event = function(event)
      if event.name == "response" then inner = cancel() end
    end }
    assert.same({ "accepted", "accepted" }, { result.outcome, inner.outcome })
    assert.equal(2, #requests())
  end)
end)
