-- When another attempt is made, the one deadline over all of them, and which attempt a call
-- reports.
local core = require "crux.core"
local Call = require "crux.call"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local retry = require "crux.retry"
local retrying = require "spec.support.retrying"

local U = helper.ORDER
local answers, cancel, get = retrying.answers, retrying.cancel, retrying.get
local requests, near = retrying.requests, retrying.near

before_each(retrying.open)
after_each(retrying.close)
teardown(fault.stop)

describe("the pause before a retry", function()
  local function pause(call, err, now)
    local made = { attempts = 1, retries = 2, deadline = 1000 }
    for name, value in pairs(call) do made[name] = value end
    local seen = {}
    for name, value in pairs(made) do seen[name] = value end
    local seconds = retry.pause(made, err, now or 0)
    assert.same(seen, made)
    return seconds
  end

  it("doubles from half a second to five, with full jitter", function()
    for share = 0, 1, 0.25 do
      core.random = function() return share end
      for attempts, most in ipairs{ 0.5, 1, 2, 4, 5, 5, 5, 5, 5, 5 } do
        assert.equal(most * share, pause({ attempts = attempts, retries = 10 }, { retryable = true }))
      end
    end
  end)

  it("is nil for a non-retryable error or after the last retry", function()
    assert.is_nil(pause({}, { retryable = false, retry_after = 1 }))
    for retries = 0, 10 do
      assert.is_truthy(retries == 0 or pause({ attempts = retries, retries = retries }, { retryable = true }))
      assert.is_nil(pause({ attempts = retries + 1, retries = retries }, { retryable = true }))
    end
  end)

  it("is the server's Retry-After", function()
    for _, seconds in ipairs{ 0, 1, 7, 120 } do
      assert.equal(seconds, pause({}, { retryable = true, retry_after = seconds }))
    end
  end)

  it("is nil if it would end after the deadline", function()
    local err = { retryable = true, retry_after = 10 }
    assert.equal(10, pause({ deadline = 100 }, err, 89.9))
    assert.is_nil(pause({ deadline = 100 }, err, 90))
    assert.is_nil(pause({ deadline = 100 }, err, 95))
    core.random = function() return 0.5 end
    assert.equal(0.25, pause({ deadline = 100 }, { retryable = true }, 99.7))
    assert.is_nil(pause({ deadline = 100 }, { retryable = true }, 99.8))
  end)

  it("has uniform jitter from 0 up to 1", function()
    local sum, below = 0, 0
    for _ = 1, 20000 do
      local x = retrying.random()
      assert(x >= 0 and x < 1)
      sum = sum + x
      if x < 0.1 then below = below + 1 end
    end
    assert.is_true(sum > 9600 and sum < 10400)
    assert.is_true(below > 1700 and below < 2300)
  end)
end)

describe("the budget of retries", function()
  local FAILURE, TIMEOUT = { retryable = true, kind = "connect" }, { retryable = true, kind = "timeout" }

  it("pays for 100 retries after failures, or 50 after timeouts", function()
    for times, err in pairs{ [100] = FAILURE, [50] = TIMEOUT } do
      local budget, count = retry.budget(), 0
      local call = { attempts = 1, retries = 2, deadline = 1000, budget = budget }
      while retry.pause(call, err, 0) do
        retry.spend(budget, err)
        count = count + 1
      end
      assert.equal(times, count)
    end
  end)

  it("gets one part in five of a retry back for each success, and is never more than full", function()
    local told = {}
    local budget = retry.budget(function(is_full) told[#told + 1] = is_full end)
    local call = { attempts = 1, retries = 2, deadline = 1000, budget = budget }
    retry.earn(budget)
    for _ = 1, 100 do retry.spend(budget, FAILURE) end
    for _ = 1, 4 do
      retry.earn(budget)
      assert.is_nil(retry.pause(call, FAILURE, 0))
    end
    retry.earn(budget)
    assert.is_truthy(retry.pause(call, FAILURE, 0))
    assert.is_nil(retry.pause(call, TIMEOUT, 0))
    for _ = 1, 1000 do retry.earn(budget) end
    assert.same({ 500, false, true }, { budget.left, told[1], told[2] })
    assert.equal(2, #told)
  end)

  it("is one for all calls of a client, of either kind", function()
    local refused = fault.refused()
    local client = assert(crux.new{ token = helper.TOKEN, base_url = refused.base_url, retries = 10 })
    local attempts = 0
    retrying.real_time()
    core.random = function() return 0 end
    for i = 1, 12 do
      local _, err
      if i % 2 == 0 then
        _, err = helper.call(client.cancel_order, client, { order_uuid = U })
      else
        _, err = select(2, client:submit("cancel_order", { order_uuid = U }):wait())
      end
      attempts = attempts + err.meta.attempts
    end
    assert.equal(12 + 100, attempts)
    client:close()
    refused:close()
  end)

  it("is filled by successes, and makes calls direct again once it is full", function()
    local function direct() return rawget(retrying.client, "_is_direct") end
    answers(helper.response(429, "", { "Retry-After: 0" }), helper.response(204), helper.response(204),
      helper.response(422), helper.response(204), helper.response(204), helper.response(204))
    assert.is_true(direct())
    assert.equal(2, cancel().meta.attempts)
    for _ = 1, 4 do
      assert.is_false(direct())
      cancel()
    end
    assert.is_false(direct())
    cancel()
    assert.is_true(direct())
  end)
end)

describe("a retry", function()
  local LATER = helper.response(429, "", { "Retry-After: 3" })

  it("follows a 429 with Retry-After", function()
    answers(LATER, LATER, helper.response(204))
    local result = cancel()
    local sent = requests()
    assert.same({ 3, 3, 3 }, { #sent, result.meta.attempts, result.meta.sends })
    assert.equal(#sent[1] + #sent[2] + #sent[3], result.meta.bytes_sent)
    assert.equal(2, #retrying.pauses)
    near(3, retrying.pauses[1])
    near(3, retrying.pauses[2])
    assert.equal(sent[1], sent[3])
  end)

  it("waits for the pause to end", function()
    retrying.real_time()
    answers(helper.response(429, "", { "Retry-After: 1" }), helper.response(204))
    local before = core.now()
    assert.equal("accepted", cancel().outcome)
    local took = core.now() - before
    assert.is_true(took >= 1 and took < 15, took)
  end)

  it("is made at most as often as the option retries says", function()
    for retries = 0, 4 do
      retrying.server:set{ answer = LATER }
      local _, err = cancel{ retries = retries }
      assert.same({ 429, retries + 1, retries + 1 }, { err.status, err.meta.attempts, err.meta.sends })
      assert.equal(retries + 1, #requests())
    end
    local twice = assert(crux.new{ token = helper.TOKEN, base_url = retrying.server.base_url })
    local _, err = helper.call(twice.cancel_order, twice, { order_uuid = U })
    assert.equal(3, err.meta.attempts)
    twice:close()
  end)

  it("is not made when its pause would end after the deadline", function()
    retrying.server:set{ answer = helper.response(429, "", { "Retry-After: 60" }) }
    local before = retrying.now()
    local _, err = cancel{ timeout = 50 }
    assert.same({ 429, 1, 60, true }, { err.status, err.meta.attempts, err.retry_after, err.retryable })
    assert.is_true(retrying.now() - before < 30)
    assert.equal(0, #retrying.pauses)
  end)

  it("never follows what may have been carried out or was rejected", function()
    for _, status in ipairs{ 400, 401, 409, 422, 429, 500, 502, 503, 302, 308 } do
      retrying.server:set{ answer = helper.response(status, "", { status ~= 429 and "Retry-After: 0" or "X-A: b" }) }
      local _, err = cancel{ retries = 10 }
      assert.same({ status, 1, 1 }, { err.status, err.meta.attempts, err.meta.sends })
    end
    assert.equal(10, #requests())
    assert.equal(0, #retrying.pauses)
    local cut = fault.serve{ script = "conn:request() conn:rst()" }
    local _, err = cancel{ base_url = cut.base_url, retries = 10 }
    assert.same({ "unknown", 1 }, { err.outcome, err.meta.attempts })
    assert.equal(1, cut:record().connections)
    cut:close()
  end)

  it("follows an unknown outcome of get_order", function()
    answers(helper.response(503), helper.response(500), helper.response(200, '{"a":1}'))
    local result = get()
    assert.same({ 200, 3, 3 }, { result.status, result.meta.attempts, result.meta.sends })
    assert.equal(3, #requests())
    near(0.5, retrying.pauses[1])
    near(1, retrying.pauses[2])
    local cut = fault.serve{ script = "conn:request() if n == 2 then conn:write(shared.answer) end conn:fin()",
      shared = { answer = helper.response(200) } }
    assert.equal(2, get{ base_url = cut.base_url }.meta.attempts)
    cut:close()
  end)

  it("of get_order waits for a Retry-After of 503", function()
    answers(helper.response(503, "", { "Retry-After: 4" }), helper.response(200))
    assert.equal("accepted", get().outcome)
    near(4, retrying.pauses[1])
  end)

  it("follows a refused connection", function()
    local refused = fault.refused()
    local _, err = cancel{ base_url = refused.base_url }
    assert.same({ "not_sent", "connect", 3, 0, 0 },
      { err.outcome, err.kind, err.meta.attempts, err.meta.sends, err.meta.bytes_sent })
    assert.equal(2, #retrying.pauses)
    _, err = cancel{ base_url = refused.base_url, retries = 0 }
    assert.equal(1, err.meta.attempts)
    refused:close()
  end)

  it("does not follow a certificate that is not trusted", function()
    local other = fault.serve{ tls = "self_signed", script = helper.ANSWER }
    local _, err = cancel{ base_url = other.base_url, ca_file = fault.ca_file, retries = 10 }
    assert.same({ "not_sent", "tls", 1, false }, { err.outcome, err.kind, err.meta.attempts, err.retryable })
    other:close()
  end)
end)

describe("a call whose result was lost in a fork", function()
  it("is not sent again", function()
    for _, on_event in ipairs{ false, function() end } do
      local sends = 0
      local host = { send = function() sends = sends + 1 end, sleep = core.sleep }
      local options = { retries = 2, on_event = on_event or nil, has_token = true,
        has_callbacks = on_event ~= false }
      local call = retrying.client:prepare("cancel_order", { order_uuid = U })
      local ok = pcall(Call.carry, retrying.client, call.request, core.now() + 20, options, host)
      assert.same({ false, 1 }, { ok, sends })
    end
  end)
end)

it("core.perform refuses a request that was released", function()
  local request = retrying.client:prepare("cancel_order", { order_uuid = U }).request
  core.release(request)
  assert.error_matches(function() core.perform(request, nil, core.now() + 1) end, "the request has ended")
end)

describe("the deadline of a call", function()
  it("includes every attempt and pause", function()
    retrying.real_time()
    core.random = function() return 0.2 end
    local slow = fault.serve{ script = [[
      conn:request()
      if n == 1 then conn:write(shared.answer) conn:fin() else conn:hold() end]],
        shared = { answer = helper.response(503) } }
    local before = core.now()
    local _, err = get{ base_url = slow.base_url, timeout = 1.5, retries = 10 }
    local took = core.now() - before
    assert.is_true(took >= 1.49 and took < 15, took)
    assert.same({ "unknown", "timeout", 2, 2, true },
      { err.outcome, err.kind, err.meta.attempts, err.meta.sends, err.retryable })
    assert.equal(2, slow:record().requests)
    slow:close()
  end)

  it("includes the time of a token function", function()
    retrying.real_time()
    local _, err = cancel{ timeout = 0.1, token = function()
      retrying.sleep(0.2)
      return helper.TOKEN
    end }
    assert.same({ "not_sent", "timeout", true, 0 }, { err.outcome, err.kind, err.retryable, err.meta.attempts })
    assert.equal(0, #requests())
  end)
end)

describe("the error after several attempts", function()
  it("is that of the last attempt that was sent", function()
    retrying.server:set{ answer = helper.response(503, '{"detail":"it was sent"}') }
    retrying.on_pause = function(n) if n == 1 then retrying.server:close() end end
    local _, err = get()
    assert.same({ "unknown", 503, "it was sent" }, { err.outcome, err.status, err.detail })
    assert.same({ 3, 1 }, { err.meta.attempts, err.meta.sends })
  end)

  it("is that of the last attempt that was sent when a token is missing later", function()
    retrying.server:set{ answer = helper.response(503) }
    local calls = 0
    local _, err = get{ token = function()
      calls = calls + 1
      if calls == 1 then return helper.TOKEN end
      return nil, "no more"
    end }
    assert.same({ "unknown", 503, 1, 1, 2 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends, calls })
  end)

  it("is that of the last response", function()
    answers(helper.response(503), helper.response(404))
    local _, err = get()
    assert.same({ "rejected", 404, 2, 2, false },
      { err.outcome, err.status, err.meta.attempts, err.meta.sends, err.retryable })
  end)
end)
