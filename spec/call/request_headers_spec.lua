-- A `headers` function: when it is called, with what, which lines come of it, and the outcome of a
-- call that gets no headers from it.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local retrying = require "spec.support.retrying"

local U = helper.ORDER
local SECRET = "a-gateway-key-0123456789"
local AGAIN = helper.response(429, "", { "Retry-After: 0" })
local answers, cancel, requests = retrying.answers, retrying.cancel, retrying.requests

helper.watch(SECRET)
before_each(retrying.open)
after_each(retrying.close)
teardown(fault.stop)

-- The lines of a request that begin with `X-` or `x-`, in order.
local function lines(request)
  local found = {}
  for line in request:gmatch("[^\r\n]+") do
    if line:find("^[Xx]%-") then found[#found + 1] = line end
  end
  table.sort(found)
  return found
end

-- A client of the server with other options.
local function new_client(options)
  options.token, options.base_url = options.token or helper.TOKEN, retrying.server.base_url
  return assert(crux.new(options))
end

local function submitted(client, arguments)
  local call, err = client:submit("cancel_order", arguments)
  if not call then return nil, err end
  local _, result
  _, result, err = call:wait(10)
  return result, err
end

local WAYS = {
  { "blocking", function(client, arguments) return client:cancel_order(arguments) end },
  { "submitted", submitted },
}

describe("a headers function", function()
  it("is called before every attempt, which gets the headers that it returns", function()
    answers(AGAIN, AGAIN, helper.response(204))
    local asked = {}
    local on_event, events = helper.events()
    local result = cancel{ on_event = on_event, headers = function(...)
      asked[#asked + 1] = { select("#", ...), ... }
      return ({ { ["X-Id"] = "1" }, {}, { ["X-Id"] = "3", ["X-Last"] = "" } })[#asked]
    end }
    assert.equal(3, result.meta.attempts)
    for i = 1, 3 do
      assert.same({ 1, { endpoint = "cancel_order", order_uuid = U, attempt = i } }, asked[i])
    end
    local sent = requests()
    assert.same({ "X-Id: 1" }, lines(sent[1]))
    assert.same({}, lines(sent[2]))
    assert.same({ "X-Id: 3", "X-Last: " }, lines(sent[3]))
    assert.equal(#sent[1] + #sent[2] + #sent[3], result.meta.bytes_sent)
    assert.equal(8, #events)
  end)

  it("is called for any endpoint, and for calls that are submitted or in a batch", function()
    local asked = {}
    local client = new_client{ headers = function(attempt)
      asked[#asked + 1] = attempt
      return { ["X-Id"] = tostring(#asked) }
    end }
    helper.call(client.login, client, { username = "u", password = "p" })
    helper.call(client.cancel_order_item, client, { order_item_uuid = U })
    helper.check(submitted(client, { order_uuid = U }))
    client:cancel_orders{ { order_uuid = U } }
    assert.same({
      { endpoint = "login", attempt = 1 },
      { endpoint = "cancel_order_item", order_item_uuid = U, attempt = 1 },
      { endpoint = "cancel_order", order_uuid = U, attempt = 1 },
      { endpoint = "cancel_order", order_uuid = U, attempt = 1 },
    }, asked)
    for i, request in ipairs(requests()) do assert.same({ "X-Id: " .. i }, lines(request)) end
    client:close()
  end)

  it("is called after the token function, with the number of the attempt that follows", function()
    answers(helper.response(401), helper.response(204))
    local order = {}
    cancel{
      token = function(refused)
        order[#order + 1] = refused and "another token" or "token"
        return refused and "new" or "old"
      end,
      headers = function(attempt)
        order[#order + 1] = "headers " .. attempt.attempt
        return {}
      end,
    }
    assert.same({ "token", "headers 1", "another token", "headers 2" }, order)
  end)

  for _, way in ipairs(WAYS) do
    it("of a call adds to the client's headers, and wins with the same name, " .. way[1], function()
      local function given(headers) return function() return headers end end
      local function sent_by(client, more)
        more.order_uuid = U
        assert.equal("accepted", helper.check(way[2](client, more)).outcome)
        return lines(requests()[1])
      end
      local of_client = { ["X-Client"] = "a", ["X-Both"] = "b", ["x-case"] = "c" }
      local of_call = { ["X-Call"] = "d", ["X-Both"] = "e", ["X-Case"] = "f" }
      for _, both in ipairs{
        { of_client, of_call }, { given(of_client), of_call },
        { of_client, given(of_call) }, { given(of_client), given(of_call) },
      } do
        local client = new_client{ headers = both[1] }
        assert.same({ "X-Both: e", "X-Call: d", "X-Case: f", "X-Client: a" },
          sent_by(client, { headers = both[2] }))
        for _, more in ipairs{ {}, { timeout = 5 } } do
          assert.same({ "X-Both: b", "X-Client: a", "x-case: c" }, sent_by(client, more))
        end
        client:close()
      end
    end)

    it("that returns nothing usable gives kind invalid, and nothing is sent, " .. way[1], function()
      local no_table = "headers: expected a table of unreserved header names and values, "
        .. "at most 8 KiB, found %s"
      local no_value = "%s: expected a string without CR, LF and NUL, found %s"
      local too_long = "headers: expected at most 8192 bytes of lines, found more"
      for _, row in ipairs{
        { nil, no_table:format("nothing") }, { false, no_table:format("a boolean") },
        { SECRET, no_table:format("a string of 24 bytes") },
        { print, no_table:format("a function") },
        { { Host = SECRET }, "headers: expected an unreserved header name, found 'Host'" },
        { { SECRET }, "headers: expected a header name, found a number" },
        { { [SECRET .. ":"] = "" }, "headers: expected a header name, found a string of 25 bytes" },
        { { ["X-Id"] = SECRET .. "\n" }, no_value:format("headers.X-Id", "a string of 25 bytes") },
        { { ["X-Id"] = "a\0" }, no_value:format("headers.X-Id", "a string of 2 bytes") },
        { { [helper.TOKEN] = 5 }, no_value:format("headers", "a number") },
        { { ["X-Id"] = "1", ["X-Long"] = ("x"):rep(8192) }, too_long },
      } do
        local on_event, events = helper.events()
        local client = new_client{ on_event = on_event, headers = function() return row[1] end }
        local _, err = helper.check(way[2](client, { order_uuid = U }))
        assert.same({ "invalid", "headers", row[2] .. ", from the headers function" },
          { err.kind, err.field, err.message })
        assert.same({ 0, 0 }, { err.meta.attempts, #events })
        client:close()
      end
      assert.equal(0, #requests())
    end)

    it("that raises an error gives kind invalid, and nothing is sent, " .. way[1], function()
      local raised = "headers: the headers function raised an error"
      for _, row in ipairs{
        { function() error("no " .. SECRET .. ": gone", 0) end, raised .. ": no [redacted]: gone" },
        { function() error({ SECRET }) end, raised .. ": an error that is a table" },
        { function() error("locked\nout", 0) end, raised .. ": locked out" },
        { function() error() end, raised },
        { function() error("short", 0) end, raised .. ": [redacted]", "short" },
        { function() error("short", 0) end, raised .. ": [redacted]",
          function() return "short" end },
      } do
        local client = new_client{ headers = row[1], token = row[3] }
        local _, err = helper.check(way[2](client, { order_uuid = U }))
        assert.same({ "invalid", "headers", row[2] }, { err.kind, err.field, err.message })
        assert.equal(0, err.meta.attempts)
        client:close()
      end
      assert.equal(0, #requests())
    end)

    it("that fails later leaves the error of the attempt that was sent, " .. way[1], function()
      retrying.server:set{ answer = AGAIN }
      local _, err = helper.check(way[2](retrying.client, {
        order_uuid = U, headers = function(attempt) return attempt.attempt == 1 and {} or nil end,
      }))
      assert.same({ "rejected", 429, 1 }, { err.outcome, err.status, err.meta.attempts })
      assert.equal(1, #requests())
    end)

    it("passes on Ctrl-C, and nothing is sent, " .. way[1], function()
      local ok, why = pcall(way[2], retrying.client, { order_uuid = U, headers = function()
        error("spec:1: interrupted!", 0)
      end })
      assert.same({ false, "spec:1: interrupted!" }, { ok, why })
      assert.same({ 0, 0 }, { #requests(), retrying.client:in_flight() })
    end)

    it("that closes the client ends the call, and nothing is sent, " .. way[1], function()
      local client
      client = new_client{ headers = function()
        client:close()
        return {}
      end }
      local _, err = helper.check(way[2](client, { order_uuid = U }))
      assert.same({ "aborted", "not_sent" }, { err.kind, err.outcome })
      assert.equal(0, #requests())
    end)

    it("takes of the call's time, " .. way[1], function()
      retrying.real_time()
      local function slow()
        retrying.sleep(0.1)
        return {}
      end
      local _, err = helper.check(way[2](retrying.client,
        { order_uuid = U, timeout = 0.05, headers = slow }))
      assert.same({ "not_sent", "timeout", 0 }, { err.outcome, err.kind, err.meta.attempts })
      assert.equal(0, #requests())
    end)
  end

  for _, way in ipairs(WAYS) do
    it("of a client is called for its login too, that of a call is not, " .. way[1], function()
      local body = ('{"auth_token":"%s"}'):format(helper.TOKEN)
      answers(helper.response(200, body), helper.response(204))
      local asked = {}
      local function given(of)
        return function(attempt)
          asked[#asked + 1] = of .. " " .. attempt.endpoint .. " " .. attempt.attempt
          return { ["X-" .. of] = attempt.endpoint }
        end
      end
      local client = assert(crux.new{
        base_url = retrying.server.base_url, username = "u", password = "p",
        headers = given("Client"),
      })
      local result = helper.check(way[2](client, { order_uuid = U, headers = given("Call") }))
      assert.equal("accepted", result.outcome)
      local order = { "Client login 1", "Client cancel_order 1", "Call cancel_order 1" }
      assert.same(order, asked)
      local sent = requests()
      assert.same({ "X-Client: login" }, lines(sent[1]))
      assert.same({ "X-Call: cancel_order", "X-Client: cancel_order" }, lines(sent[2]))
      client:close()
    end)

    it("that fails for a login ends the call, and nothing is sent, " .. way[1], function()
      local client
      local function given(attempt)
        if attempt.endpoint == "login" then return client:get_order{ order_uuid = U } end
        return {}
      end
      for _, row in ipairs{
        { function() return 5 end,
          "^login: headers: expected a table .*, found a number, from the headers function$" },
        { given, "^login: headers: the headers function raised an error: a call was made inside" },
      } do
        client = assert(crux.new{
          base_url = retrying.server.base_url, username = "u", password = "p", headers = row[1],
        })
        local _, err = helper.check(way[2](client, { order_uuid = U }))
        assert.same({ "not_sent", "invalid", "headers" }, { err.outcome, err.kind, err.field })
        assert.is_truthy(err.message:find(row[2]), err.message)
        client:close()
      end
      assert.equal(0, #requests())
    end)
  end

  it("that is interrupted before a second attempt leaves what was known", function()
    retrying.server:set{ answer = AGAIN }
    local function interrupted(attempt)
      if attempt.attempt == 2 then error("interrupted!", 0) end
      return {}
    end
    local call = retrying.client:submit("cancel_order", { order_uuid = U, headers = interrupted })
    assert.same({ false, "interrupted!" }, { pcall(call.wait, call, 10) })
    local _, _, err = call:poll()
    assert.same({ "rejected", 429, 1 }, { err.outcome, err.status, err.meta.sends })
  end)

  it("may abort its own call, and may not wait for it", function()
    local call, why
    retrying.server:set{ answer = AGAIN }
    call = retrying.client:submit("cancel_order", { order_uuid = U, headers = function(attempt)
      if attempt.attempt == 1 then return {} end
      why = select(2, pcall(call.wait, call))
      call:abort()
      return { ["X-Id"] = "2" }
    end })
    local _, _, err = call:wait(10)
    assert.same({ "unknown", "aborted", 1 }, { err.outcome, err.kind, err.meta.sends })
    assert.is_truthy(why:find("wait called from the call's own callback", 1, true))
    assert.equal(1, #requests())
  end)

  it("of an item that fails is the item's error, and not the end of a batch", function()
    local function fails() return 5 end
    local report = retrying.client:cancel_orders(
      { { order_uuid = U, headers = fails }, { order_uuid = U } }, { concurrency = 1 })
    assert.same({ 1, 1, nil }, { report.counts.accepted, report.counts.not_sent, report.stopped })
    assert.equal("invalid", report.not_sent[1].err.kind)
  end)

  it("returns no more than 8 KiB together with a table's", function()
    local long = ("x"):rep(8192 - #"X-Long: \r\n" - #"X-A: 1\r\n")
    for value, outcome in pairs{ ["1"] = "accepted", ["12"] = "not_sent" } do
      local client = new_client{ headers = { ["X-A"] = value } }
      local result, err = helper.call(client.cancel_order, client,
        { order_uuid = U, headers = function() return { ["X-Long"] = long } end })
      assert.equal(outcome, (result or err).outcome)
      assert.equal(err and "headers", err and err.field)
      client:close()
    end
    assert.equal(1, #requests())
  end)

  it("returns a table that is read raw", function()
    local given = setmetatable({ ["X-Id"] = "1" }, { __index = error, __pairs = error })
    assert.equal("accepted", cancel{ headers = function() return given end }.outcome)
    assert.same({ "X-Id: 1" }, lines(requests()[1]))
  end)

  it("hides a token that the call got from a function, where it is the name of a header", function()
    local name = "named-like-a-token"
    local _, err = cancel{
      token = function() return name end, headers = function() return { [name] = 5 } end,
    }
    assert.equal("invalid", err.kind)
    helper.clean(err, name)
  end)

  it("is not called by a dry run, which redacts the table beside it", function()
    local function given() error("called") end
    local client = new_client{ headers = given }
    local order = { order_uuid = U, headers = { ["X-Id"] = SECRET } }
    assert.equal("[redacted]", assert(client:dry_run("cancel_order", order)).headers["X-Id"])
    assert(client:dry_run("cancel_order", { order_uuid = U, headers = given }))
    client:close()
  end)

  it("is called in the caller's coroutine, and can yield", function()
    -- 5.1 cannot yield across pcall
    if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then return end
    local function given() return coroutine.yield("headers, please") end
    local thread = coroutine.create(function()
      return retrying.client:cancel_order{ order_uuid = U, headers = given }
    end)
    assert.equal("headers, please", select(2, coroutine.resume(thread)))
    local ok, result = coroutine.resume(thread, { ["X-Id"] = "from outside" })
    assert.is_true(ok, tostring(result))
    assert.equal("accepted", helper.check(result).outcome)
    assert.same({ "X-Id: from outside" }, lines(requests()[1]))
  end)
end)
