-- client:cancel_orders, and its report compared with the server's record.
local crux = require "crux"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local ledger = require "spec.support.ledger"
local process = require "spec.support.process"

-- Responds to each order by the last digit of its UUID: 2 is 422, 5 is 503, 9 is 401, f closes,
-- else 204. It counts how many requests there are at once.
local BY_DIGIT = [[
  while true do
    local request = conn:request()
    if not request then break end
    shared.now = (shared.now or 0) + 1
    shared.most = math.max(shared.most or 0, shared.now)
    conn:sleep(shared.pause or 0)
    shared.now = shared.now - 1
    local digit = request.body:match('"order_uuid":"[^"]*(.)"')
    if digit == "f" then return conn:cut() end
    local status = ({ ["2"] = "422 X", ["5"] = "503 X", ["9"] = "401 X" })[digit]
    conn:write(status and "HTTP/1.1 " .. status .. "\r\nContent-Length: 0\r\n\r\n" or "HTTP/1.1 204 X\r\n\r\n")
  end
]]

local server, client

local function serve(script, shared, more)
  server = fault.serve{ script = script, shared = shared }
  local options = { token = helper.TOKEN, base_url = server.base_url, timeout = 20, retries = 0 }
  for name, value in pairs(more or {}) do options[name] = value end
  client = assert(crux.new(options))
end

after_each(function()
  if client then client:close() end
  if server then server:close() end
  server, client = nil, nil
end)
teardown(fault.stop)

local function order(number, digit)
  return { order_uuid = ("54a31ec5-b0be-4a92-af4c-%011x%s"):format(number, digit or "0") }
end

local function orders(digits)
  local list = {}
  for digit in digits:gmatch(".") do list[#list + 1] = order(#list + 1, digit) end
  return list
end

-- Asserts that the report agrees with the calls of on_result.
local function agree(report, items, told)
  local counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 }
  for index in ipairs(items) do
    local one = told[index]
    local outcome = one and (one.result or one.err).outcome or "not_started"
    counts[outcome] = counts[outcome] + 1
    if outcome ~= "accepted" then
      local entry
      for _, candidate in ipairs(report[outcome]) do
        if candidate.index == index then entry = candidate end
      end
      assert.truthy(entry, index .. " is missing in " .. outcome)
      assert.equal(items[index], entry.item)
      assert.equal(one and one.err, entry.err)
    end
  end
  assert.same(counts, report.counts)
  for name, count in pairs(counts) do
    if name ~= "accepted" then assert.equal(count, #report[name]) end
  end
  assert.is_nil(report.accepted)
end

local function tell(told)
  return function(index, item, result, err)
    assert.is_nil(told[index])
    helper.check(result, err)
    told[index] = { item = item, result = result, err = err }
  end
end

describe("client:cancel_orders", function()
  it("counts orders by outcome, and passes each result to on_result", function()
    serve(BY_DIGIT)
    local items, told = orders("0125f002f"), {}
    items[#items + 1] = { order_uuid = "no uuid" }
    local report = client:cancel_orders(items, { on_result = tell(told) })
    agree(report, items, told)
    assert.same({ accepted = 4, rejected = 2, unknown = 3, not_sent = 1, not_started = 0 }, report.counts)
    assert.equal("invalid", report.not_sent[1].err.kind)
    assert.equal(10, report.not_sent[1].index)
    assert.equal(0, client:in_flight())
  end)

  it("returns an empty report for an empty list", function()
    serve(BY_DIGIT)
    local none = { accepted = 0, rejected = 0, unknown = 0, not_sent = 0, not_started = 0 }
    assert.same({ counts = none, rejected = {}, unknown = {}, not_sent = {}, not_started = {} }, client:cancel_orders{})
    assert.same({ counts = none }, client:cancel_orders(function() end))
    assert.equal(0, server:record().connections)
  end)

  for _, case in ipairs{ { nil, 8 }, { 1, 1 }, { 3, 3 }, { 40, 32 } } do
    it(("has at most %s calls in flight"):format(case[1] or "8 (the default)"), function()
      serve(BY_DIGIT, { pause = 0.01 })
      client:cancel_orders(orders(("0"):rep(100)), { concurrency = case[1] })
      -- the first call goes alone, and there are no more calls than connections
      local seen = server:record()
      assert.is_true(seen.connections <= case[2], seen.connections .. " connections")
      assert.equal(100, seen.requests)
      if case[2] > 1 then assert.is_true(seen.connections > 1) end
    end)
  end

  -- Internal tables of a Lua, such as LuaJIT's string table, vary by tens of KiB. So items are
  -- looked for one by one, and the growth is compared with the size of one string and its table
  -- slot for each item.
  it("accepts an iterator, and keeps no item after its result", function()
    serve(BY_DIGIT)
    local FIRST, ITEMS, STRING = 500, 4000, 64
    local yielded, results, before = 0, 0, nil
    local items = setmetatable({}, { __mode = "k" })
    local function collected()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count") * 1024
    end
    local report = client:cancel_orders(function()
      yielded = yielded + 1
      if yielded == FIRST then before = collected() end
      if yielded > ITEMS then return nil end
      local item = { order_uuid = order(yielded, yielded % 4 == 0 and "2" or "0").order_uuid,
        skus = { { supplier_uuid = helper.SUPPLIER } } }
      items[item] = true
      return item
    end, { on_result = function(index, item)
      results = results + 1
      assert.truthy(item.order_uuid:find(("%011x"):format(index), 1, true))
    end })
    local grown = collected() - before
    assert.equal(ITEMS, results)
    assert.same({ counts = { accepted = 3000, rejected = 1000, unknown = 0, not_sent = 0, not_started = 0 } }, report)
    assert.is_nil(next(items))
    assert.is_true(grown < STRING * (ITEMS - FIRST), grown .. " bytes more")
  end)

  it("calls on_progress after each order", function()
    serve(BY_DIGIT)
    local seen = {}
    client:cancel_orders(orders("0205"), { concurrency = 1, on_progress = function(done, total, counts)
      seen[#seen + 1] = { done, total, counts.accepted, counts.rejected, counts.unknown }
    end })
    assert.same({ { 1, 4, 1, 0, 0 }, { 2, 4, 1, 1, 0 }, { 3, 4, 2, 1, 0 }, { 4, 4, 2, 1, 1 } }, seen)
    local n = 0
    client:cancel_orders(function() n = n + 1 if n < 3 then return order(n) end end,
      { on_progress = function(done, total) seen = { done, total } end })
    assert.same({ 2 }, seen)
  end)

  it("starts no more orders after an error of a kind in stop_on, auth by default", function()
    serve(BY_DIGIT)
    local items, told = orders("00900000000000000000"), {}
    local report = client:cancel_orders(items, { concurrency = 1, on_result = tell(told) })
    agree(report, items, told)
    assert.same({ accepted = 2, rejected = 1, unknown = 0, not_sent = 0, not_started = 17 }, report.counts)
    assert.same({ index = 4, item = items[4] }, report.not_started[1])

    report = client:cancel_orders(items, { stop_on = {} })
    assert.same({ accepted = 19, rejected = 1, unknown = 0, not_sent = 0, not_started = 0 }, report.counts)

    items, told = orders("9f000f000"), {}
    report = client:cancel_orders(items, { concurrency = 1, stop_on = { network = true }, on_result = tell(told) })
    agree(report, items, told)
    assert.same({ accepted = 0, rejected = 1, unknown = 1, not_sent = 0, not_started = 7 }, report.counts)
  end)

  it("stopped early waits for the orders in flight", function()
    serve(BY_DIGIT, { pause = 0.05 })
    local items, told = orders("90000000" .. ("0"):rep(20)), {}
    local report = client:cancel_orders(items, { concurrency = 4, on_result = tell(told) })
    agree(report, items, told)
    assert.equal(1, report.counts.rejected)
    assert.equal(0, report.counts.unknown)
    assert.equal(server:record().requests, report.counts.accepted + 1)
  end)

  it("retries an order as a single call does", function()
    serve([[
      while conn:request() do
        shared.count = (shared.count or 0) + 1
        conn:write(shared.count <= 3 and shared.busy or "HTTP/1.1 204 X\r\n\r\n")
      end ]], { busy = helper.response(429, "", { "Retry-After: 0" }) }, { retries = 3 }) -- one call may get them all
    local report = client:cancel_orders(orders("00000000"))
    assert.equal(8, report.counts.accepted)
    assert.equal(11, server:record().requests)
  end)

  it("leaves other calls of the client alone", function()
    serve(BY_DIGIT)
    local own = client:submit("cancel_order", order(99))
    assert.equal(5, client:cancel_orders(orders("00000")).counts.accepted)
    own:wait()
    assert.equal(own, client:step())
    assert.is_nil(client:step())
  end)

  it("checks its options raw and before anything is sent", function()
    serve(BY_DIGIT)
    local expected = {
      concurrency = "a whole number from 1", on_result = "a function", on_progress = "a function",
      stop_on = "a set of kinds and statuses such as { auth = true, [403] = true }, or a function",
      rate = "a positive, finite number", max_failures = "a whole number from 1, or false",
      max_pause = "a finite number of seconds, 0 or more", report = "a table", on_start = "a function",
    }
    for _, case in ipairs{
      { "concurrency", 0, "0" }, { "concurrency", 1.5, "1.5" }, { "concurrency", "2", "'2'" }, { "concurrency", false, "false" },
      { "on_result", 5, "5" }, { "on_progress", {}, "a table" }, { "stop_on", "auth", "'auth'" }, { "stop_on", { "auth" }, "a table" },
      { "stop_on", { atuh = true }, "a table" }, { "stop_on", { [99] = true }, "a table" }, { "rate", 0, "0" },
      { "max_failures", 0, "0" }, { "max_failures", true, "true" }, { "max_pause", -1, "-1" }, { "report", 5, "5" },
      { "on_start", 5, "5" },
    } do
      local name, value, found = case[1], case[2], case[3]
      local report, err = helper.check(client:cancel_orders(orders("00"), { [name] = value }))
      assert.is_nil(report)
      assert.same({ "invalid", name, ("%s: expected %s, found %s"):format(name, expected[name], found) },
        { err.kind, err.field, err.message })
    end
    local _, err = helper.check(client:cancel_orders(orders("00"), { concurency = 2, on_result = 5 }))
    assert.same({ "concurency", "concurency: unknown field, did you mean 'concurrency'?" }, { err.field, err.message })
    assert.equal(0, server:record().requests)
    local behind = setmetatable({ stop_on = setmetatable({}, { __index = function() return true end }) },
      { __index = { concurrency = 0 } })
    assert.equal(1, client:cancel_orders(orders("20"), behind).counts.accepted)
  end)

  it("raises an error on misuse before anything is sent", function()
    serve(BY_DIGIT)
    local one = orders("0")[1]
    for _, case in ipairs{ { 5 }, { nil }, { orders("00"), 5 }, { orders("00"), false }, { { one, nil, one } }, { { one, n = 1 } }, { one } } do
      assert.is_false((pcall(client.cancel_orders, client, case[1], case[2])))
    end
    assert.equal(0, server:record().requests)
    local lazy = setmetatable({ one }, { __len = function() return 3 end, __index = function() return one end })
    assert.equal(1, client:cancel_orders(lazy).counts.accepted)
  end)

  it("takes an item that is no table for an invalid one", function()
    serve(BY_DIGIT)
    local items, told = orders("00"), {}
    items[2], items[3], items[4] = 7, orders("0")[1], false
    local report = client:cancel_orders(items, { on_result = tell(told) })
    agree(report, items, told)
    assert.same({ accepted = 2, rejected = 0, unknown = 0, not_sent = 2, not_started = 0 }, report.counts)
    assert.same({ "invalid", "items[2]", "items[2]: expected a table of arguments, found a number" },
      { report.not_sent[1].err.kind, report.not_sent[1].err.field, report.not_sent[1].err.message })
    local index = 0
    local counts = client:cancel_orders(function()
      index = index + 1
      return ({ order(1), 7, order(2) })[index]
    end).counts
    assert.same({ 2, 1 }, { counts.accepted, counts.not_sent })
  end)

  -- What the first answer's callback raises ends the batch. The other requests are answered later.
  for _, where in ipairs{ "on_start", "on_result", "on_progress", "stop_on", "the iterator" } do
    it("raises the error of " .. where .. " again once what is in flight is answered", function()
      local mine = setmetatable({}, { __tostring = function() return "the reason" end })
      local given, failed, calls_after = 0, false, 0
      local function raise(after)
        return function()
          if failed then calls_after = calls_after + 1 end
          after = after - 1
          if after >= 0 then return end
          failed = true
          error(mine, 0)
        end
      end
      local report = {}
      local options = { concurrency = 3, report = report }
      if where ~= "the iterator" then options[where] = raise(where == "on_start" and 2 or 0) end
      if not options.on_result then
        options.on_result = function() if failed then calls_after = calls_after + 1 end end
      end
      serve([[
        local request = conn:request()
        conn:sleep(n == 1 and 0 or 0.3)
        conn:write("HTTP/1.1 422 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") ]])
      local draw = raise(3)
      local ok, why = pcall(client.cancel_orders, client, function()
        if where == "the iterator" then draw() end
        given = given + 1
        return given <= 20 and order(given) or nil
      end, options)
      assert.is_false(ok)
      assert.equal(mine, why)
      assert.equal(0, calls_after)
      assert.same({ "error", "the reason" }, { report.stopped, report.stopped_by })
      local requests = server:record().requests
      assert.equal(requests, report.counts.rejected)
      assert.equal(where == "on_start" and 1 or 0, report.counts.not_started)
      assert.equal(report.counts.not_started, #report.not_started)
      assert.equal(given, requests + #report.not_started)
      assert.is_true(#report.rejected >= 2 and #report.rejected <= 4, #report.rejected .. " are named")
      for _, row in ipairs(report.rejected) do assert.equal(422, row.err.status) end
    end)
  end

  for _, where in ipairs{ "on_result", "on_event" } do
    it("returns at once when its client is closed from " .. where, function()
      -- its calls would last for a minute
      serve([[ if n == 1 then conn:request() conn:write("HTTP/1.1 204 X\r\n\r\n") end conn:request() conn:hold() ]], nil, {
        timeout = 60,
        on_event = function(e) if where == "on_event" and e.name == "response" then client:close() end end,
      })
      local items, told = orders(("0"):rep(20)), {}
      local hear = tell(told)
      local before = core.now()
      local report = client:cancel_orders(items, { concurrency = 4, on_result = function(...)
        hear(...)
        if where == "on_result" then client:close() end
      end })
      assert.is_true(core.now() - before < 30)
      agree(report, items, told)
      assert.equal(1, report.counts.accepted)
      assert.equal(16, report.counts.not_started)
      for _, list in ipairs{ report.unknown, report.not_sent } do
        for _, entry in ipairs(list) do assert.equal("aborted", entry.err.kind) end
      end
    end)
  end

  it("reports when its client is closed from the iterator, and starts no more orders", function()
    serve(BY_DIGIT)
    local n = 0
    local report = client:cancel_orders(function()
      n = n + 1
      if n == 3 then client:close() end
      return order(n)
    end, { concurrency = 1 })
    assert.same({ accepted = 2, rejected = 0, unknown = 0, not_sent = 0, not_started = 1 }, report.counts)
    assert.equal(3, n)
  end)
end)

describe("the report of client:cancel_orders", function()
  local sandbox

  after_each(function()
    if sandbox then sandbox:close() end
    sandbox = nil
  end)

  it("agrees with the server's record on 5,000 orders with one fault in five", function()
    local seed = math.floor(core.random() * 1e6)
    sandbox = process.sandbox{ orders = 5000, random = seed, plain = true }
    client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer, timeout = 60 })
    local ok, counts = pcall(ledger.cancel, sandbox, client, { concurrency = 32 })
    assert.is_true(ok, ("seed %d: %s"):format(seed, tostring(counts)))
    assert.is_true(counts.accepted > 3000 and counts.unknown > 100)
  end)

  it("agrees with the server's record over TLS", function()
    local seed = math.floor(core.random() * 1e6)
    sandbox = process.sandbox{ orders = 500, random = seed }
    client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer, ca_file = sandbox.ca_file })
    local ok, why = pcall(ledger.cancel, sandbox, client, { concurrency = 16 })
    assert.is_true(ok, ("seed %d: %s"):format(seed, tostring(why)))
  end)

  it("agrees with the server's record after kill -9 amid 1,000 orders", function()
    local journal = os.tmpname()
    finally(function() os.remove(journal) end)
    for _, plain in ipairs{ true, false } do
      assert(io.open(journal, "w")):close()
      sandbox = process.sandbox{ orders = 1000, plain = plain, journal = journal }
      -- a response takes longer than the kill, even under valgrind
      client = assert(crux.new{
        base_url = sandbox.base_url .. "/~delay_after=500/", token = sandbox.tokens.retailer,
        ca_file = sandbox.ca_file, retries = 0, max_connections = 100,
      })
      local items, told = {}, {}
      for i, uuid in ipairs(sandbox.orders) do items[i] = { order_uuid = uuid } end
      local report = client:cancel_orders(items, {
        concurrency = 100, on_result = tell(told),
        on_progress = function(done) if done == 300 then sandbox:kill() end end,
      })
      agree(report, items, told)

      local received, answered = {}, {}
      for line in io.lines(journal) do
        local what, uuid = line:match("^(%a+) (%S+)")
        if what == "received" then received[uuid] = true elseif what == "answered" then answered[uuid] = true end
      end
      local unknown, unanswered = {}, 0
      for _, entry in ipairs(report.unknown) do unknown[entry.item.order_uuid:lower()] = true end
      for uuid in pairs(received) do
        if not answered[uuid] then
          unanswered = unanswered + 1
          assert.is_true(unknown[uuid], uuid .. " was received, not answered, and is not unknown")
        end
      end
      for _, entry in ipairs(report.not_sent) do assert.is_nil(received[entry.item.order_uuid:lower()]) end
      for index, one in pairs(told) do
        if one.result then assert.is_true(answered[items[index].order_uuid:lower()]) end
      end
      assert.is_true(unanswered > 0, "expected the server to die with orders on its hands")
      assert.is_true(report.counts.accepted >= 300 and report.counts.not_started > 500)
      client:close()
      sandbox:close()
    end
  end)
end)
