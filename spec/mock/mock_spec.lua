-- crux.mock as a test double: how it is made, what it records, what it says where a test is wrong,
-- and that it can stand in for a client and for the modules.
local core = require "crux.core"
local crux = require "crux"
local helper = require "spec.helper"
local mock = require "crux.mock"
local mocks = require "spec.support.mocks"

local ORDER = { order_uuid = helper.ORDER }
local OK = { status = 200, body = "{}" }

local function invalid(options)
  local made, err = mock.new(options)
  assert.is_nil(made)
  helper.check(nil, err)
  assert.equal("invalid", err.kind)
  return err
end

describe("the options of a mock:", function()
  local CASES = {
    { "answers", 7, "answers: expected a table of lists and functions by endpoint, found 7" },
    { "answers.get_ordr", { get_ordr = {} }, "answers.get_ordr: unknown field, did you mean 'get_order'?" },
    { "answers.zzzzzz", { zzzzzz = {} },
      "answers.zzzzzz: unknown field, expected one of " .. table.concat(core.endpoints, ", ") },
    { "answers.get_order", { get_order = "dns" }, "answers.get_order: expected a list of answers, or a function, found a string" },
    { "answers.get_order", { get_order = { status = 200 } },
      "answers.get_order: expected a list of answers, or a function, found one answer: write { { status = … } }" },
    { "answers.get_order", { get_order = { OK, nil, OK, more = OK } },
      "answers.get_order: expected a list of answers, or a function, found a table with other keys than 1, 2, 3" },
    { "answers.get_order[2]", { get_order = { OK, 7 } },
      "answers.get_order[2]: expected a table of status, headers and body, or the name of a fault, found 7" },
    { "answers.get_order[2]", { get_order = { OK, "conect" } },
      "answers.get_order[2]: expected one of the faults dns, connect, proxy, tls, timeout, network, memory, timeout_sent, "
        .. "network_sent, protocol_sent, cut_body, found 'conect'" },
    { "answers.get_order[2].stats", { get_order = { OK, { stats = 200 } } },
      "answers.get_order[2].stats: unknown field, did you mean 'status'?" },
    { "answers.get_order[1][1]", { get_order = { { status = 200, 7 } } },
      "answers.get_order[1][1]: unknown field, expected one of status, headers, body" },
    { "answers.get_order[2].status", { get_order = { OK, {} } },
      "answers.get_order[2].status: expected a whole number from 100 to 999, found nothing" },
    { "answers.get_order[1].headers", { get_order = { { status = 200, headers = "X: y" } } },
      "answers.get_order[1].headers: expected a table of names and values, found a string" },
    { "answers.get_order[1].headers", { get_order = { { status = 200, headers = { "X: y" } } } },
      "answers.get_order[1].headers: expected the names of headers, found 1" },
    { "answers.get_order[1].headers", { get_order = { { status = 200, headers = { ["X:"] = "y" } } } },
      "answers.get_order[1].headers: expected the names of headers, found another string" },
    { "answers.get_order[1].headers.X", { get_order = { { status = 200, headers = { X = "y\r\nZ: 1" } } } },
      "answers.get_order[1].headers.X: expected a string without CR, LF and NUL, found one with" },
    { "answers.get_order[1].headers.X", { get_order = { { status = 200, headers = { X = true } } } },
      "answers.get_order[1].headers.X: expected a string without CR, LF and NUL, found a boolean" },
    { "answers.get_order[1].body", { get_order = { { status = 200, body = true } } },
      "answers.get_order[1].body: expected a string or a table, found a boolean" },
    { "answers.get_order[1].body", { get_order = { { status = 200, body = crux.null } } },
      "answers.get_order[1].body: expected a string or a table, found crux.null" },
  }
  for status, found in pairs{ ["200"] = "a string", [99] = "99", [1000] = "1000", [200.5] = "200.5" } do
    CASES[#CASES + 1] = { "answers.cancel_order[1].status", { cancel_order = { { status = status } } },
      "answers.cancel_order[1].status: expected a whole number from 100 to 999, found " .. found }
  end

  for i, case in ipairs(CASES) do
    it(("wrong answers are invalid, with their place: %d, %s"):format(i, case[1]), function()
      local err = invalid{ answers = case[2] }
      assert.same({ case[1], case[3] }, { err.field, err.message })
    end)
  end

  it("a body that cannot be JSON is invalid", function()
    local err = invalid{ answers = { get_order = { { status = 200, body = { f = print } } } } }
    assert.equal("answers.get_order[1].body", err.field)
    assert.is_truthy(err.message:find("expected a table that can be written as JSON, found ", 1, true), err.message)
  end)

  it("options of a client are checked as a client's", function()
    for _, wrong in ipairs{ { timeout = -1 }, { tokn = "x" }, { token = 7 }, { retries = 11 }, { base_url = "ftp://x" }, { api = "v2" } } do
      local _, expected = crux.new(wrong)
      local err = invalid(wrong)
      assert.same({ expected.field, expected.message }, { err.field, err.message })
    end
  end)

  it("what is no table raises, and a colon", function()
    local double = mock.new()
    for found, call in pairs{
      ["expected a table of options, found a string"] = function() mock.new("x") end,
      ["expected mock.new{...}, found mock:new{...}: write a dot"] = function() mock:new{} end,
      ["expected a table of options, found a number"] = function() double.new(7) end,
      ["expected crux.new{...}, found crux:new{...}: write a dot"] = function() double:new{} end,
    } do
      local ok, why = pcall(call)
      assert.is_false(ok)
      assert.equal(found, why:match("^%S*spec/mock/mock_spec%.lua:%d+: (.*)$"), why)
    end
  end)

  it("the environment is not read", function()
    local printed = helper.child(([[
      local mock = require "crux.mock".new{ answers = { get_order = { { status = 204 }, "connect" } } }
      local result = mock:get_order{ order_uuid = %q }
      print(result.status, mock.calls[1].url)
      print(mock.cancel_order, select(2, mock:get_order{ order_uuid = %q, retries = 0 }))
    ]]):format(helper.ORDER, helper.ORDER):gsub("mock.cancel_order, ", ""), {
      CRUX_TOKEN = "two words", CRUX_BASE_URL = "ftp://x", CRUX_CA_FILE = "/nowhere", https_proxy = "://", no_proxy = "*",
    })
    assert.equal(("204\t%s/orders/%s/\nnot_sent (connect): could not connect to %s: Connection refused"):format(
      crux.SANDBOX, helper.ORDER, crux.SANDBOX:match("//(.*)")), printed)
  end)

  it("options of a call override the mock's", function()
    local double = mocks.new({ "connect", "connect", OK }, { retries = 0, timeout = 1 })
    assert.equal(200, double:get_order{ order_uuid = helper.ORDER, retries = 2, timeout = 20, api = "timp" }.status)
    assert.is_truthy(double.calls[3].url:find("/timp/", 1, true))
  end)
end)

describe("a request that a test has not foreseen", function()
  local function message(double, run)
    local ok, why = pcall(run, double)
    assert.is_false(ok)
    assert.equal("string", type(why))
    return why
  end

  local RUN_OUT = "crux.mock: answers.get_order has run out: expected an answer to request 2, found none"

  for _, way in ipairs{ "blocking", "wait", "poll", "step", "batch" } do
    it("raises an error that says so: " .. way, function()
      local double = mock.new{ answers = { get_order = { OK } } }
      local function call() return mocks.WAYS[way](double, "get_order", ORDER) end
      assert.equal(200, call().status)
      assert.equal(RUN_OUT, message(double, call))
      assert.equal(2, #double.calls)
      collectgarbage() -- nobody holds the pending
      collectgarbage()
      assert.equal(0, double:in_flight())
    end)

    it("is not made as a retry: the error at hand says so: " .. way, function()
      for fault, kind in pairs{ connect = "connect", timeout = "timeout", network_sent = "network" } do
        local double = mock.new{ answers = { get_order = { OK, fault } } }
        mocks.WAYS[way](double, "get_order", ORDER)
        local result, err = helper.check(mocks.WAYS[way](double, "get_order", ORDER))
        assert.is_nil(result)
        assert.same({ kind, 1, 2 }, { err.kind, err.meta.attempts, #double.calls })
        local _, plain = mocks.WAYS[way](mocks.new({ fault }, { retries = 0 }), "get_order", ORDER)
        assert.equal(plain.message .. "; answers.get_order has run out, so there is no retry", err.message)
        assert.equal(RUN_OUT:gsub("2", "3"), message(double, function() return double:get_order(ORDER) end))
      end
    end)

    it("is not missed by a call that would not be retried: " .. way, function()
      local double = mock.new{ answers = { get_order = { "connect", "dns", "connect" }, cancel_order = { "network_sent" } } }
      local _, err = helper.check(mocks.WAYS[way](double, "get_order", ORDER))
      assert.same({ 3, nil }, { err.meta.attempts, err.message:match("run out") })
      _, err = helper.check(mocks.WAYS[way](double, "cancel_order", ORDER))
      assert.same({ 1, nil }, { err.meta.attempts, err.message:match("run out") })
    end)

    it("raises for an endpoint without answers: " .. way, function()
      local double = mock.new()
      assert.equal("crux.mock: expected answers.get_order, found none", message(double, function()
        return mocks.WAYS[way](double, "get_order", ORDER)
      end))
    end)
  end

  it("is not made by a batch that would start an order again", function()
    local double = mock.new{ answers = { cancel_order = { { status = 204 }, { status = 429 }, { status = 204 }, { status = 429 } } } }
    local report = double:cancel_orders({ ORDER, ORDER, ORDER }, { concurrency = 1 })
    assert.same({ 2, 1, nil }, { report.counts.accepted, report.counts.rejected, report.stopped })
    local err = report.rejected[1].err
    assert.equal("HTTP 429 Too Many Requests; answers.cancel_order has run out, so there is no retry", err.message)
    assert.equal(4, #double.calls)
  end)

  it("is in the report of a batch, which then ends", function()
    local double = mock.new{ answers = { cancel_order = { { status = 204 } } } }
    local report = {}
    message(double, function()
      return double:cancel_orders({ ORDER, ORDER, ORDER }, { report = report, concurrency = 1 })
    end)
    assert.same({ "error", 1, 1, 1 },
      { report.stopped, report.counts.accepted, report.counts.not_sent, report.counts.not_started })
    assert.equal("crux.mock: answers.cancel_order has run out: expected an answer to request 2, found none", report.stopped_by)
  end)

  it("raises out of wait_cancelled and orders", function()
    local double = mock.new{ answers = { list_orders = {} } }
    assert.equal("crux.mock: expected answers.get_order, found none", message(double, function()
      return double:wait_cancelled{ order_uuid = helper.ORDER }
    end))
    assert.equal("crux.mock: answers.list_orders has run out: expected an answer to request 1, found none", message(double, function()
      double:orders()()
    end))
  end)

  it("is not made by arguments that are wrong, or by a dry run", function()
    local double = mock.new()
    local _, err = double:get_order{ order_uid = helper.ORDER }
    assert.same({ "invalid", "order_uid" }, { err.kind, err.field })
    assert.is_nil((double:submit("get_order", {})))
    assert.equal("GET", double:dry_run("get_order", ORDER).method)
    assert.same({}, double.calls)
  end)
end)

describe("a function of answers", function()
  it("is called with what the mock records, for each attempt", function()
    local seen = {}
    local double = mock.new{ answers = { cancel_order = function(call)
      seen[#seen + 1] = call
      return #seen == 1 and "connect" or { status = 204 }
    end } }
    assert.equal(204, double:cancel_order(ORDER).status)
    assert.equal(2, #seen)
    for i = 1, 2 do assert.equal(seen[i], double.calls[i]) end
  end)

  it("raises what it raises, in every way to call", function()
    for _, way in pairs(mocks.WAYS) do
      local why = {}
      local double = mock.new{ answers = { get_order = function() error(why) end } }
      local _, found = pcall(way, double, "get_order", ORDER)
      assert.equal(why, found)
    end
  end)

  it("must return an answer", function()
    for _, case in ipairs{
      { nil, "answers.get_order(call): expected a table of status, headers and body, or the name of a fault, found nothing" },
      { { status = 1 }, "answers.get_order(call).status: expected a whole number from 100 to 999, found 1" },
      { n = 1, "conect", "answers.get_order(call): expected one of the faults" },
    } do
      local double = mock.new{ answers = { get_order = function() return case[1] end } }
      local ok, why = pcall(double.get_order, double, ORDER)
      assert.is_false(ok)
      assert.equal(1, (why:find("crux.mock: " .. case[2], 1, true)), why)
    end
  end)

  it("may call the mock", function()
    local double
    double = mock.new{ answers = {
      get_order = { OK },
      cancel_order = function() return { status = double:get_order(ORDER).status + 4 } end,
    } }
    assert.equal(204, double:cancel_order(ORDER).status)
    assert.same({ "cancel_order", "get_order" }, { double.calls[1].name, double.calls[2].name })
  end)
end)

describe("the calls of a mock", function()
  it("are dry runs with the name and the arguments", function()
    local double = mocks.new({ OK, OK, OK, OK }, { headers = { ["X-Shop"] = "1" } })
    for _, way in ipairs{ "blocking", "poll", "step", "batch" } do
      mocks.WAYS[way](double, "cancel_order", { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER, quantity = 2 } } })
    end
    local dry = double:dry_run("cancel_order", { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER, quantity = 2 } } })
    for i = 1, 4 do
      local call = double.calls[i]
      helper.clean(call)
      assert.equal(tostring(dry), tostring(call))
      for _, name in ipairs{ "method", "url", "headers", "body" } do assert.same(dry[name], call[name]) end
      assert.equal("cancel_order", call.name)
      assert.same({ order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER, quantity = 2 } } }, call.args)
    end
  end)

  it("keep the arguments as they were, whatever becomes of the table", function()
    local double = mocks.new{ OK, OK }
    local arguments = { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }
    double:cancel_order(arguments)
    arguments.skus[1].supplier_uuid, arguments.order_uuid = "x", "y"
    assert.same({ order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }, double.calls[1].args)
  end)

  it("have one entry for each attempt", function()
    local double = mocks.new{ "dns", "connect", OK }
    double:get_order(ORDER)
    assert.equal(3, #double.calls)
  end)

  it("show no secret of a login", function()
    local double = mock.new{ answers = { login = { { status = 200, body = { token = "server-token-000000" } } } } }
    local result = double:login{ username = "shop", password = "a-password-of-mine" }
    assert.equal("server-token-000000", result.body.token)
    assert.is_nil(tostring(double.calls[1]):find("a-password-of-mine", 1, true))
    assert.is_nil(double.calls[1].body:find("a-password-of-mine", 1, true))
    assert.equal("a-password-of-mine", double.calls[1].args.password)
  end)
end)

describe("the headers of a mock's calls", function()
  it("are those of the attempt, also from a function, without their values", function()
    local asked = {}
    local double = mocks.new({ "connect", OK, OK }, { headers = function(attempt)
      asked[#asked + 1] = attempt.attempt
      return { ["X-Attempt"] = "attempt-" .. attempt.attempt }
    end })
    local result = double:get_order{ order_uuid = helper.ORDER, headers = { ["X-Call"] = "a-value" } }
    local bytes = double:get_order{ order_uuid = helper.ORDER }.meta.bytes_sent
    assert.same({ 1, 2, 1 }, asked)
    for i = 1, 3 do
      assert.equal("[redacted]", double.calls[i].headers["X-Attempt"])
      assert.equal(i < 3 and "[redacted]" or nil, double.calls[i].headers["X-Call"])
    end
    assert.equal(bytes + #"X-Call: a-value\r\n", result.meta.bytes_sent)
  end)
end)

describe("a mock stands in", function()
  it("for a client: it has each of its methods", function()
    local client, double = crux.new{ token = helper.TOKEN }, mock.new()
    for name, method in pairs(getmetatable(client).__index) do
      if type(method) == "function" then assert.equal("function", type(double[name]), name) end
    end
  end)

  it("for a module: it has each of its functions and values", function()
    local double = mock.new()
    for name, value in pairs(crux) do
      assert.equal(type(value), type(double[name]), name)
      if type(value) ~= "function" then assert.equal(value, double[name]) end
    end
    assert.equal(crux.cancellation, double.cancellation)
  end)

  it("for a module: its calls take a dot, and its new makes further clients", function()
    local double = mock.new{ answers = { get_order = { OK, "dns", OK } } }
    assert.equal(200, double.get_order(ORDER).status)
    local client = double.new{ retries = 0, timeout = 3 }
    local _, err = client:get_order(ORDER)
    assert.equal("dns", err.kind)
    assert.equal(200, select(2, client:submit("get_order", ORDER):poll()).status)
    assert.equal(3, #double.calls)
    assert.equal(double.calls, client.calls)
    local made, why = double.new{ timeout = -1 }
    assert.is_nil(made)
    assert.equal("timeout", why.field)
    client:close()
    assert.is_false(double:is_closed())
  end)

  it("for a client of which each call is misused in the same way", function()
    local double, client = mock.new(), crux.new{ token = helper.TOKEN }
    for _, call in ipairs{
      function(c) c.step() end, function(c) c.submit("get_order", {}) end, function(c) c:get_order() end,
      function(c) c:submit("get_ordr", {}) end, function(c) c:batch("get_order", 7) end, function(c) c.close() end,
    } do
      local _, expected = pcall(call, client)
      local _, found = pcall(call, double)
      assert.equal(expected, found)
    end
    client:close()
    double:close()
    double:close()
    local ok, why = pcall(double.get_order, double, ORDER)
    assert.is_false(ok)
    assert.is_truthy(why:find("the client is closed", 1, true), why)
    assert.equal("crux.mock (closed)", tostring(double))
    assert.equal(("crux.mock (%s)"):format(crux.SANDBOX), tostring(mock.new()))
  end)

  it("with token functions, events and the budget of a client", function()
    local tokens = {}
    local on_event, list = helper.events()
    local double = mock.new{
      on_event = on_event, token = function(refused)
        tokens[#tokens + 1] = refused or "-"
        return refused and "second-token-0000" or "first-token-0000"
      end,
      answers = { get_order = { { status = 401 }, "dns", OK } },
    }
    assert.equal(200, double:get_order(ORDER).status)
    assert.same({ "-", "first-token-0000", "-" }, tokens)
    local names = {}
    for i, event in ipairs(list) do names[i] = event.name end
    assert.same({ "request", "response", "retry", "request", "response", "retry", "request", "response" }, names)
  end)
end)
