-- When another attempt is made, with which token, and what is said of all of them together.
local core = require "crux.core"
local Call = require "crux.call"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local retry = require "crux.retry"

local U = helper.ORDER
local random, sleep = core.random, core.sleep
local server, client, pauses, on_pause

-- Pauses take no time here, unless a spec says so; what they would have been is kept.
before_each(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url, timeout = 20 })
  pauses, on_pause = {}, nil
  core.random = function() return 0.999 end
  core.sleep = function(seconds)
    pauses[#pauses + 1] = seconds
    if on_pause then on_pause(#pauses) end
  end
end)

after_each(function()
  core.random, core.sleep = random, sleep
  client:close()
  server:close()
end)

-- The i-th request is answered with the i-th of these.
local function answers(...) server:set{ answers = { ... } } end

local function cancel(more)
  local arguments = { order_uuid = U }
  for name, value in pairs(more or {}) do arguments[name] = value end
  return helper.call(client.cancel_order, client, arguments)
end

local function get(more)
  local arguments = { order_uuid = U }
  for name, value in pairs(more or {}) do arguments[name] = value end
  return helper.call(client.get_order, client, arguments)
end

local function requests() return helper.new_requests(server) end

-- Roughly what was asked for: the clock has moved on by the time that a pause begins.
local function near(expected, found)
  assert.is_true(math.abs(expected - found) < 0.1, ("expected %g, found %g"):format(expected, found))
end

describe("pause", function()
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

  it("is nil after an error that is not retryable, or after the last retry", function()
    assert.is_nil(pause({}, { retryable = false, retry_after = 1 }))
    for retries = 0, 10 do
      assert.is_truthy(retries == 0 or pause({ attempts = retries, retries = retries }, { retryable = true }))
      assert.is_nil(pause({ attempts = retries + 1, retries = retries }, { retryable = true }))
    end
  end)

  it("is what the server asks for", function()
    for _, seconds in ipairs{ 0, 1, 7, 120 } do
      assert.equal(seconds, pause({}, { retryable = true, retry_after = seconds }))
    end
  end)

  it("ends before the deadline, or is none", function()
    local err = { retryable = true, retry_after = 10 }
    assert.equal(10, pause({ deadline = 100 }, err, 89.9))
    assert.is_nil(pause({ deadline = 100 }, err, 90))
    assert.is_nil(pause({ deadline = 100 }, err, 95))
    core.random = function() return 0.5 end
    assert.equal(0.25, pause({ deadline = 100 }, { retryable = true }, 99.7))
    assert.is_nil(pause({ deadline = 100 }, { retryable = true }, 99.8))
  end)

  it("has jitter from 0 up to 1, spread evenly", function()
    local sum, below = 0, 0
    for _ = 1, 20000 do
      local x = random()
      assert(x >= 0 and x < 1)
      sum = sum + x
      if x < 0.1 then below = below + 1 end
    end
    assert.is_true(sum > 9600 and sum < 10400)
    assert.is_true(below > 1700 and below < 2300)
  end)
end)

describe("another attempt", function()
  local LATER = helper.response(429, "", { "Retry-After: 3" })

  it("follows a 429 that says when", function()
    answers(LATER, LATER, helper.response(204))
    local result = cancel()
    local sent = requests()
    assert.same({ 3, 3, 3 }, { #sent, result.meta.attempts, result.meta.sends })
    assert.equal(#sent[1] + #sent[2] + #sent[3], result.meta.bytes_sent)
    assert.equal(2, #pauses)
    near(3, pauses[1])
    near(3, pauses[2])
    assert.equal(sent[1], sent[3])
  end)

  it("really waits for it", function()
    core.sleep = sleep
    answers(helper.response(429, "", { "Retry-After: 1" }), helper.response(204))
    local before = core.now()
    assert.equal("accepted", cancel().outcome)
    assert.is_true(core.now() - before >= 1 and core.now() - before < 3)
  end)

  it("follows at most as often as retries says", function()
    for retries = 0, 4 do
      server:set{ answer = LATER }
      local _, err = cancel{ retries = retries }
      assert.same({ 429, retries + 1, retries + 1 }, { err.status, err.meta.attempts, err.meta.sends })
      assert.equal(retries + 1, #requests())
    end
    local twice = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
    local _, err = helper.call(twice.cancel_order, twice, { order_uuid = U })
    assert.equal(3, err.meta.attempts)
    twice:close()
  end)

  it("is not made when its pause would end after the deadline: the error comes at once", function()
    server:set{ answer = helper.response(429, "", { "Retry-After: 60" }) }
    local before = core.now()
    local _, err = cancel()
    assert.same({ 429, 1, 60, true }, { err.status, err.meta.attempts, err.retry_after, err.retryable })
    assert.is_true(core.now() - before < 2)
    assert.equal(0, #pauses)
  end)

  it("never follows what may have been carried out, or was refused", function()
    for _, status in ipairs{ 400, 401, 409, 422, 429, 500, 502, 503, 302, 308 } do
      server:set{ answer = helper.response(status, "", { status ~= 429 and "Retry-After: 0" or "X-A: b" }) }
      local _, err = cancel{ retries = 10 }
      assert.same({ status, 1, 1 }, { err.status, err.meta.attempts, err.meta.sends })
    end
    assert.equal(10, #requests())
    assert.equal(0, #pauses)
    local cut = fault.serve{ script = "conn:request() conn:rst()" }
    local _, err = cancel{ base_url = cut.base_url, retries = 10 }
    assert.same({ "unknown", 1 }, { err.outcome, err.meta.attempts })
    assert.equal(1, cut:record().connections)
    cut:close()
  end)

  it("follows an unknown outcome of a call that changes nothing", function()
    answers(helper.response(503), helper.response(500), helper.response(200, '{"a":1}'))
    local result = get()
    assert.same({ 200, 3, 3 }, { result.status, result.meta.attempts, result.meta.sends })
    assert.equal(3, #requests())
    near(0.5, pauses[1])
    near(1, pauses[2])
    local cut = fault.serve{ script = "conn:request() if n == 2 then conn:write(shared.answer) end conn:fin()",
      shared = { answer = helper.response(200) } }
    assert.equal(2, get{ base_url = cut.base_url }.meta.attempts)
    cut:close()
  end)

  it("heeds what such a server asks for", function()
    answers(helper.response(503, "", { "Retry-After: 4" }), helper.response(200))
    assert.equal("accepted", get().outcome)
    near(4, pauses[1])
  end)

  it("follows what was not sent", function()
    local refused = fault.refused()
    local _, err = cancel{ base_url = refused.base_url }
    assert.same({ "not_sent", "connect", 3, 0, 0 },
      { err.outcome, err.kind, err.meta.attempts, err.meta.sends, err.meta.bytes_sent })
    assert.equal(2, #pauses)
    _, err = cancel{ base_url = refused.base_url, retries = 0 }
    assert.equal(1, err.meta.attempts)
    refused:close()
  end)

  it("does not follow a certificate that proves nothing", function()
    local other = fault.serve{ tls = "self_signed", script = helper.ANSWER }
    local _, err = cancel{ base_url = other.base_url, ca_file = fault.ca_file, retries = 10 }
    assert.same({ "not_sent", "tls", 1, false }, { err.outcome, err.kind, err.meta.attempts, err.retryable })
    other:close()
  end)
end)

describe("a call whose answer is lost, its process having forked,", function()
  it("is not sent once more", function()
    for _, on_event in ipairs{ false, function() end } do
      local sends = 0
      local host = { send = function() sends = sends + 1 end, sleep = core.sleep }
      local options = { retries = 2, on_event = on_event or nil, has_token = true,
        has_callbacks = on_event ~= false }
      local call = client:prepare("cancel_order", { order_uuid = U })
      local ok = pcall(Call.carry, client, call.request, core.now() + 20, options, host)
      assert.same({ false, 1 }, { ok, sends })
    end
  end)
end)

it("a request that has ended is not sent", function()
  local request = client:prepare("cancel_order", { order_uuid = U }).request
  core.release(request)
  assert.error_matches(function() core.perform(request, nil, core.now() + 1) end, "the request has ended")
end)

describe("one deadline", function()
  it("is over every attempt and pause", function()
    core.sleep = sleep
    core.random = function() return 0.2 end
    local slow = fault.serve{ script = [[
      conn:request()
      if n == 1 then conn:write(shared.answer) conn:fin() else conn:hold() end]],
        shared = { answer = helper.response(503) } }
    local before = core.now()
    local _, err = get{ base_url = slow.base_url, timeout = 0.6, retries = 10 }
    assert.is_true(core.now() - before >= 0.59 and core.now() - before < 2)
    assert.same({ "unknown", "timeout", 2, 2, true },
      { err.outcome, err.kind, err.meta.attempts, err.meta.sends, err.retryable })
    assert.equal(2, slow:record().requests)
    slow:close()
  end)

  it("is over a token function too", function()
    local _, err = cancel{ timeout = 0.1, token = function()
      sleep(0.2)
      return helper.TOKEN
    end }
    assert.same({ "not_sent", "timeout", true, 0 }, { err.outcome, err.kind, err.retryable, err.meta.attempts })
    assert.equal(0, #requests())
  end)
end)

describe("what is reported", function()
  it("is the last attempt that was sent, if the last was not", function()
    server:set{ answer = helper.response(503, '{"detail":"it was sent"}') }
    on_pause = function(n) if n == 1 then server:close() end end
    local _, err = get()
    assert.same({ "unknown", 503, "it was sent" }, { err.outcome, err.status, err.detail })
    assert.same({ 3, 1 }, { err.meta.attempts, err.meta.sends })
  end)

  it("is so also when it was for want of a token", function()
    server:set{ answer = helper.response(503) }
    local calls = 0
    local _, err = get{ token = function()
      calls = calls + 1
      if calls == 1 then return helper.TOKEN end
      return nil, "no more"
    end }
    assert.same({ "unknown", 503, 1, 1, 2 }, { err.outcome, err.status, err.meta.attempts, err.meta.sends, calls })
  end)

  it("is the last word of several that were sent", function()
    answers(helper.response(503), helper.response(404))
    local _, err = get()
    assert.same({ "rejected", 404, 2, 2, false },
      { err.outcome, err.status, err.meta.attempts, err.meta.sends, err.retryable })
  end)
end)

describe("a token function", function()
  local asked

  local function giving(...)
    local tokens = { ... }
    asked = {}
    return function(...)
      asked[#asked + 1] = { n = select("#", ...), ... }
      return tokens[#asked]
    end
  end

  local function tokens()
    local list = {}
    for _, sent in ipairs(requests()) do list[#list + 1] = sent:match("Authorization: Token (%S+)") end
    return list
  end

  it("is asked before every attempt", function()
    answers(helper.response(429, "", { "Retry-After: 0" }), helper.response(429, "", { "Retry-After: 0" }),
      helper.response(204))
    assert.equal("accepted", cancel{ token = giving("one", "two", "three") }.outcome)
    assert.same({ "one", "two", "three" }, tokens())
    for i = 1, 3 do assert.is_nil(asked[i][1]) end
  end)

  it("is asked once more after a 401, with true, and a different token gets another attempt", function()
    answers(helper.response(401), helper.response(204))
    local result = cancel{ token = giving("old", "new"), retries = 1 }
    assert.same({ 2, 2 }, { result.meta.attempts, result.meta.sends })
    assert.same({ "old", "new" }, tokens())
    assert.equal(2, #asked)
    assert.is_nil(asked[1][1])
    assert.is_true(asked[2][1])
  end)

  it("is asked so only once in a call", function()
    server:set{ answer = helper.response(401) }
    local _, err = cancel{ token = giving("one", "two", "three", "four"), retries = 10 }
    assert.same({ 401, "auth", 2 }, { err.status, err.kind, err.meta.attempts })
    assert.same({ "one", "two" }, tokens())
    assert.equal(2, #asked)
  end)

  it("that has no other token ends the call with the 401", function()
    for _, second in ipairs{ "same", false, "", "not usable", 5 } do
      server:set{ answer = helper.response(401, '{"detail":"expired"}') }
      local _, err = cancel{ token = giving("same", second), retries = 2 }
      assert.same({ 401, "auth", "rejected", "expired", 1 },
        { err.status, err.kind, err.outcome, err.detail, err.meta.attempts })
      assert.equal(2, #asked)
      requests()
    end
    local calls = 0
    local _, err = cancel{ token = function()
      calls = calls + 1
      if calls > 1 then error("gone") end
      return "same"
    end }
    assert.same({ 401, 1 }, { err.status, err.meta.attempts })
  end)

  it("is not asked again where there are no retries", function()
    server:set{ answer = helper.response(401) }
    local _, err = cancel{ token = giving("one", "two"), retries = 0 }
    assert.same({ 401, 1, 1 }, { err.status, err.meta.attempts, #asked })
    assert.equal(1, #requests())
  end)

  it("is not asked because of any other status", function()
    server:set{ answer = helper.response(403) }
    cancel{ token = giving("one", "two") }
    assert.equal(1, #asked)
  end)

  it("that fails is kind auth, and nothing is sent", function()
    local secret = "a-secret-in-an-error"
    helper.watch(secret)
    for _, row in ipairs{
      { function() error(secret) end, "the token function raised an error" },
      { function() error({ secret }) end, "the token function raised an error" },
      { function() error() end, "the token function raised an error" },
      { function() return nil end, "the token function returned none" },
      { function() end, "the token function returned none" },
      { function() return nil, "logged out" end, "the token function returned none: logged out" },
      { function() return nil, "two\nlines\0\27" end, "the token function returned none: two lines  " },
      { function() return nil, { secret } end, "the token function returned none" },
      { function() return secret .. " with a space" end, "the token function returned an unusable token, a string" },
      { function() return secret .. "\n" end, "the token function returned an unusable token, a string that ends in a newline" },
      { function() return "" end, "the token function returned an unusable token, a string" },
      { function() return 12345 end, "the token function returned an unusable token, a number" },
      { function() return false end, "the token function returned an unusable token, a boolean" },
      { function() return { secret } end, "the token function returned an unusable token, a table" },
    } do
      local on_event, events = helper.events()
      local _, err = cancel{ token = row[1], on_event = on_event }
      assert.same({ "not_sent", "auth", false, row[2] }, { err.outcome, err.kind, err.retryable, err.message })
      assert.same({ 0, 0, 0 }, { err.meta.attempts, err.meta.sends, #events })
      assert.is_truthy(err.hint)
    end
    assert.equal(0, server:record().connections)
  end)

  it("may give any reason, which is cut to a line of text", function()
    for _, reason in ipairs{ ("long "):rep(100), ("\195\169"):rep(200), "x" .. ("\195\169"):rep(200),
      ("\226\130\172"):rep(300), "not UTF-8: \255", "" } do
      local _, err = cancel{ token = function() return nil, reason end }
      assert.is_true(#err.message < 260)
    end
  end)

  it("may name in its reason the token that it gave before: the message does not", function()
    local refused = fault.refused()
    local calls = 0
    local _, err = cancel{ base_url = refused.base_url, token = function()
      calls = calls + 1
      if calls == 1 then return "token-that-was-good" end
      return nil, "token-that-was-good is no longer"
    end }
    assert.equal(2, calls)
    helper.clean(err, "token-that-was-good")
    refused:close()
  end)

  it("may have given several: no message has any of them", function()
    server:set{ answer = helper.response(401, '{"detail":"token-one was followed by token-two"}') }
    local _, err = cancel{ token = giving("token-one", "token-two") }
    assert.same({ 2, "HTTP 401 Unauthorized: [redacted] was followed by [redacted]" }, { err.meta.attempts, err.message })
  end)

  it("is called in the caller's own coroutine, and may yield there", function()
    -- 5.1 cannot yield across pcall
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
    local thread = coroutine.create(function()
      return client:cancel_order{ order_uuid = U, token = function() return coroutine.yield("token, please") end }
    end)
    assert.equal("token, please", select(2, coroutine.resume(thread)))
    local ok, result = coroutine.resume(thread, "from-outside")
    assert.is_true(ok, tostring(result))
    assert.equal("accepted", result.outcome)
    assert.same({ "from-outside" }, tokens())
  end)
end)

describe("on_event", function()
  local on_event, events
  before_each(function() on_event, events = helper.events() end)

  local URL = "/orders/cancel/"

  it("on_event gets the request and the response", function()
    cancel{ on_event = on_event }
    local url = server.base_url .. URL
    assert.same({
      { name = "request", attempt = 1, method = "PATCH", url = url },
      { name = "response", attempt = 1, method = "PATCH", url = url, outcome = "accepted", status = 204 },
    }, events)
  end)

  it("is told of errors and of further attempts, in order", function()
    answers(helper.response(429, "", { "Retry-After: 2" }), helper.response(422))
    cancel{ on_event = on_event }
    local url = server.base_url .. URL
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
    near(2, pauses[1])
  end)

  it("is told of attempts that were not sent", function()
    local refused = fault.refused()
    cancel{ base_url = refused.base_url, on_event = on_event, retries = 1 }
    local names = {}
    for i, event in ipairs(events) do names[i] = event.name .. event.attempt .. tostring(event.kind) end
    assert.same({ "request1nil", "response1connect", "retry1connect", "request2nil", "response2connect" }, names)
    near(0.4995, events[3].pause)
    refused:close()
  end)

  it("is told of the attempt that a new token gets", function()
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

  it("is told nothing of what is invalid, or has no token: there is no attempt", function()
    cancel{ on_event = on_event, order_uuid = "no" }
    local without = assert(crux.new{ base_url = server.base_url, on_event = on_event })
    local _, err = helper.call(without.cancel_order, without, { order_uuid = U })
    assert.same({ "auth", 0 }, { err.kind, err.meta.attempts })
    _, err = select(2, without:submit("cancel_order", { order_uuid = U }):wait())
    assert.same({ "auth", 0 }, { err.kind, err.meta.attempts })
    without:close()
    assert.same({}, events)
  end)

  it("raises what it raises out of the call, which ends there", function()
    server:set{ answer = helper.response(429, "", { "Retry-After: 0" }) }
    for sent, name in pairs{ [0] = "request", [1] = "response", [2] = "retry" } do
      local mine, seen = {}, {}
      local ok, raised = pcall(client.cancel_order, client, { order_uuid = U, on_event = function(event)
        seen[#seen + 1] = event.name
        if event.name == name then error(mine) end
      end })
      assert.is_false(ok)
      assert.is_true(raised == mine)
      assert.equal(name, seen[#seen])
      assert.equal(sent == 0 and 0 or 1, #requests())
    end
    -- and the client is as good as before
    server:set{ answer = helper.response(204) }
    assert.equal("accepted", cancel().outcome)
  end)

  it("may make calls itself", function()
    local inner
    local result = cancel{ on_event = function(event)
      if event.name == "response" then inner = cancel() end
    end }
    assert.same({ "accepted", "accepted" }, { result.outcome, inner.outcome })
    assert.equal(2, #requests())
  end)
end)
