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

  it("gets the request and the response", function()
    cancel{ on_event = on_event }
    local url = retrying.server.base_url .. URL
    assert.same({
      { name = "request", attempt = 1, method = "PATCH", url = url },
      { name = "response", attempt = 1, method = "PATCH", url = url, outcome = "accepted", status = 204 },
    }, events)
  end)

  it("gets errors and retries in order", function()
    answers(helper.response(429, "", { "Retry-After: 2" }), helper.response(422))
    cancel{ on_event = on_event }
    local url = retrying.server.base_url .. URL
    assert.same({
      { name = "request", attempt = 1, method = "PATCH", url = url },
      { name = "response", attempt = 1, method = "PATCH", url = url, outcome = "rejected", kind = "http",
        status = 429 },
      { name = "retry", attempt = 1, method = "PATCH", url = url, outcome = "rejected", kind = "http", status = 429,
        pause = 2 },
      { name = "request", attempt = 2, method = "PATCH", url = url },
      { name = "response", attempt = 2, method = "PATCH", url = url, outcome = "rejected", kind = "http",
        status = 422 },
    }, events)
    near(2, retrying.pauses[1])
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

  it("can raise an error, which ends the call and reaches the caller", function()
    retrying.server:set{ answer = helper.response(429, "", { "Retry-After: 0" }) }
    for sent, name in pairs{ [0] = "request", [1] = "response", [2] = "retry" } do
      local mine, seen = {}, {}
      local ok, raised = pcall(retrying.client.cancel_order, retrying.client, { order_uuid = U, on_event = function(event)
        seen[#seen + 1] = event.name
        if event.name == name then error(mine) end
      end })
      assert.is_false(ok)
      assert.is_true(raised == mine)
      assert.equal(name, seen[#seen])
      assert.equal(sent == 0 and 0 or 1, #requests())
    end
    -- the client can be used afterwards
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
