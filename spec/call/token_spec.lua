-- A token function: when it is called, with what, and the outcome of a call that gets no token from
-- it.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local retrying = require "spec.support.retrying"

local U = helper.ORDER
local answers, cancel, requests = retrying.answers, retrying.cancel, retrying.requests

before_each(retrying.open)
after_each(retrying.close)
teardown(fault.stop)

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

  it("is called before every attempt", function()
    answers(helper.response(429, "", { "Retry-After: 0" }), helper.response(429, "", { "Retry-After: 0" }),
      helper.response(204))
    assert.equal("accepted", cancel{ token = giving("one", "two", "three") }.outcome)
    assert.same({ "one", "two", "three" }, tokens())
    for i = 1, 3 do assert.is_nil(asked[i][1]) end
  end)

  it("is called with the refused token after a 401, and another token gets a retry", function()
    answers(helper.response(401), helper.response(204))
    local result = cancel{ token = giving("old", "new"), retries = 1 }
    assert.same({ 2, 2 }, { result.meta.attempts, result.meta.sends })
    assert.same({ "old", "new" }, tokens())
    assert.equal(2, #asked)
    assert.is_nil(asked[1][1])
    assert.equal("old", asked[2][1])
  end)

  it("is called with a refused token only once in a call", function()
    retrying.server:set{ answer = helper.response(401) }
    local _, err = cancel{ token = giving("one", "two", "three", "four"), retries = 10 }
    assert.same({ 401, "auth", 2 }, { err.status, err.kind, err.meta.attempts })
    assert.same({ "one", "two" }, tokens())
    assert.equal(2, #asked)
  end)

  it("without another token ends the call with the 401", function()
    for _, second in ipairs{ "same", false, "", "not usable", 5 } do
      retrying.server:set{ answer = helper.response(401, '{"detail":"expired"}') }
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

  it("costs no retry for another token", function()
    answers(helper.response(401), helper.response(429, "", { "Retry-After: 0" }), helper.response(204))
    local result = cancel{ token = giving("old", "new", "new"), retries = 1 }
    assert.same({ "accepted", 3 }, { result.outcome, result.meta.attempts })
  end)

  -- The calls of a client that have been refused with one token.
  local function refuse_all(token)
    retrying.server:set{ answer = helper.response(401) }
    local client = assert(crux.new{ base_url = retrying.server.base_url, token = token, timeout = 20 })
    local calls = {}
    for i = 1, 8 do calls[i] = client:submit("cancel_order", { order_uuid = U }) end
    local deadline = retrying.now() + 15
    while retrying.server:record().requests < 8 and retrying.now() < deadline do retrying.sleep(0.01) end
    retrying.server:set{ answer = helper.response(204) }
    return client, calls
  end

  it("is asked once, however many calls were refused with one token", function()
    local questions = {}
    local client, calls = refuse_all(function(refused)
      if not refused then return "old" end
      questions[#questions + 1] = refused
      return "new" .. #questions
    end)
    for _, call in ipairs(calls) do
      local _, result = call:wait(10)
      assert.same({ "accepted", 2 }, { result.outcome, result.meta.attempts })
    end
    assert.same({ "old" }, questions)
    local sent = {}
    for _, token in ipairs(tokens()) do sent[token] = (sent[token] or 0) + 1 end
    assert.same({ old = 8, new1 = 8 }, sent)
    client:close()
  end)

  it("that fails is asked once for calls that were in flight, and again by a later call", function()
    local questions, works = 0, false
    local client, calls = refuse_all(function(refused)
      if not refused then return "old" end
      questions = questions + 1
      if not works then error("no network", 0) end
      return "new"
    end)
    for _, call in ipairs(calls) do
      local _, _, err = call:wait(10)
      assert.same({ "rejected", 401, 1 }, { err.outcome, err.status, err.meta.attempts })
    end
    assert.equal(1, questions)
    works = true
    retrying.server:set{ answers = { helper.response(401), helper.response(204) }, count = 0 }
    assert.equal("accepted", helper.call(client.cancel_order, client, { order_uuid = U }).outcome)
    assert.equal(2, questions)
    client:close()
  end)

  it("that goes on for long is waited for by submitted calls that need its answer", function()
    -- 5.1 cannot yield across pcall
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
    retrying.real_time()
    local questions = 0
    local client, calls = refuse_all(function(refused)
      if not refused then return "old" end
      questions = questions + 1
      return coroutine.yield()
    end)
    local first = coroutine.create(function() return calls[1]:wait(10) end)
    assert.is_true(coroutine.resume(first))
    for i = 2, 8 do assert.is_false((calls[i]:wait(0.02))) end
    assert.equal(8, client:in_flight())
    assert.is_true(coroutine.resume(first, "new"))
    for _, call in ipairs(calls) do assert.equal("accepted", select(2, call:wait(10)).outcome) end
    assert.equal(1, questions)
    client:close()
  end)

  it("that never returns is not waited for beyond the deadline of its call", function()
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
    retrying.real_time()
    local client, calls = refuse_all(function(refused)
      if not refused then return "old" end
      return coroutine.yield()
    end)
    assert.is_true(coroutine.resume(coroutine.create(function() return calls[1]:wait(10) end)))
    local inner = client:submit("cancel_order", { order_uuid = U, timeout = 0.5 })
    assert.equal("accepted", select(2, inner:wait(10)).outcome)
    retrying.server:set{ answer = helper.response(401, '{"detail":"expired"}') }
    local late = client:submit("cancel_order", { order_uuid = U, timeout = 0.5 })
    local _, _, err = late:wait(10)
    assert.same({ "rejected", 401, "expired" }, { err.outcome, err.status, err.detail })
    client:close()
  end)

  it("can make a call of the same client, which does not wait for it", function()
    local client, inner
    client = assert(crux.new{ base_url = retrying.server.base_url, timeout = 20, token = function(refused)
      if not refused then return "old" end
      inner = select(3, client:submit("cancel_order", { order_uuid = U }):wait(10))
      return "new"
    end })
    answers(helper.response(401), helper.response(401), helper.response(204))
    assert.equal("accepted", helper.call(client.cancel_order, client, { order_uuid = U }).outcome)
    assert.same({ 401, 1 }, { inner.status, inner.meta.attempts })
    client:close()
  end)

  it("is not called again with retries = 0", function()
    retrying.server:set{ answer = helper.response(401) }
    local _, err = cancel{ token = giving("one", "two"), retries = 0 }
    assert.same({ 401, 1, 1 }, { err.status, err.meta.attempts, #asked })
    assert.equal(1, #requests())
  end)

  it("is not called again after 403", function()
    retrying.server:set{ answer = helper.response(403) }
    cancel{ token = giving("one", "two") }
    assert.equal(1, #asked)
  end)

  it("that fails gives kind auth, and nothing is sent", function()
    local secret = "a-secret-in-an-error"
    helper.watch(secret)
    for _, row in ipairs{
      { function() error("no " .. secret .. ": gone", 0) end, "the token function raised an error: no [redacted]: gone" },
      { function() error({ secret }) end, "the token function raised an error: an error that is a table" },
      { function() error("locked\nout", 0) end, "the token function raised an error: locked out" },
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
    assert.equal(0, retrying.server:record().connections)
  end)

  it("can give any reason, which is shortened to one line", function()
    for _, reason in ipairs{ ("long "):rep(100), ("\195\169"):rep(200), "x" .. ("\195\169"):rep(200),
      ("\226\130\172"):rep(300), "not UTF-8: \255", "" } do
      local _, err = cancel{ token = function() return nil, reason end }
      assert.is_true(#err.message < 260)
    end
  end)

  it("can give a reason with an earlier token, which is redacted", function()
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

  it("can return several tokens, all of which are redacted", function()
    retrying.server:set{ answer = helper.response(401, '{"detail":"token-one was followed by token-two"}') }
    local _, err = cancel{ token = giving("token-one", "token-two") }
    assert.same({ 2, "HTTP 401 Unauthorized: [redacted] was followed by [redacted]" }, { err.meta.attempts, err.message })
  end)

  it("is called in the caller's coroutine, and can yield", function()
    -- 5.1 cannot yield across pcall
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
    local thread = coroutine.create(function()
      return retrying.client:cancel_order{ order_uuid = U, token = function() return coroutine.yield("token, please") end }
    end)
    assert.equal("token, please", select(2, coroutine.resume(thread)))
    local ok, result = coroutine.resume(thread, "from-outside")
    assert.is_true(ok, tostring(result))
    assert.equal("accepted", result.outcome)
    assert.same({ "from-outside" }, tokens())
  end)
end)
