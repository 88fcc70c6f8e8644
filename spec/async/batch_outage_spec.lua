-- client:batch while the service throttles, is out of order or gone; the batch's clock is fast.
local Client = require "crux.client"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local process = require "spec.support.process"

local SPEED = 20 -- seconds of the batch in one of ours

-- Accepts `shared.before` orders, then answers all by `shared.answer` for `shared.seconds`, and then
-- accepts again. What each order was answered is told by its number.
local OUTAGE = [[
  local monotime = require "cqueues".monotime
  shared.answers = shared.answers or {}
  while true do
    local request = conn:request()
    if not request then break end
    shared.count = (shared.count or 0) + 1
    if shared.count > shared.before then shared.since = shared.since or monotime() end
    local is_down = shared.since and monotime() - shared.since < shared.seconds
    local number = request.body:match('(%x+)"')
    conn:tell(number, is_down and "down" or "up")
    conn:write(is_down and shared.answer or "HTTP/1.1 204 X\r\n\r\n")
  end
]]
local ACCEPT = "while conn:request() do conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end"

local server, client

local new = Client.constructor{
  send = core.perform, now = function() return SPEED * core.now() end,
  sleep = function(seconds) core.sleep(seconds / SPEED) end,
  await = function(what, seconds) what:wait(seconds / SPEED) end,
}

local function serve(script, shared, more)
  server = fault.serve{ script = script, shared = shared }
  local options = { token = helper.TOKEN, base_url = server.base_url }
  for name, value in pairs(more or {}) do options[name] = value end
  client = assert(new(options))
end

after_each(function()
  if client then client:close() end
  if server then server:close() end
  server, client = nil, nil
end)
teardown(fault.stop)

local function orders(count)
  local list = {}
  for i = 1, count do list[i] = { order_uuid = ("54a31ec5-b0be-4a92-af4c-%012x"):format(i) } end
  return list
end

-- Runs a batch. Returns its report, and the sum of the sends that its results and errors tell of.
local function run(items, options)
  local sends, told = 0, {}
  options = options or {}
  options.on_result = function(index, _, result, err)
    assert.is_nil(told[index])
    helper.check(result, err)
    told[index] = true
    sends = sends + (result or err).meta.sends
  end
  return client:batch("cancel_order", items, options), sends
end

local function total(counts)
  return counts.accepted + counts.rejected + counts.unknown + counts.not_sent + counts.not_started
end

describe("a batch during an outage", function()
  for name, case in pairs{
    ["answers 429"] = { status = 429 },
    ["answers 429 with Retry-After"] = { status = 429, headers = { "Retry-After: 1" } },
    ["answers 503"] = { status = 503, unknown = 20 },
    ["answers 503 with Retry-After"] = { status = 503, headers = { "Retry-After: 2" }, unknown = 20 },
  } do
    it("gets all other orders accepted by a service that " .. name .. " for 20 s", function()
      serve(OUTAGE, { before = 100, seconds = 20 / SPEED, answer = helper.response(case.status, "", case.headers) })
      local report, sends = run(orders(300))
      local counts = report.counts
      assert.is_nil(report.stopped)
      assert.equal(300, total(counts))
      assert.equal(300, counts.accepted + counts.unknown)
      assert.is_true(counts.unknown <= (case.unknown or 0), counts.unknown .. " are unknown")
      assert.equal(counts.unknown, #report.unknown)
      assert.equal(server:record().requests, sends)
      if case.unknown then assert.equal(300, sends) end -- nothing twice
    end)
  end

  for concurrency = 1, 4, 3 do
    it(("starts orders again that were not sent, %d at once"):format(concurrency), function()
      local sandbox = process.sandbox{ plain = true, orders = 1 }
      finally(function() sandbox:close() end)
      local refused, later = 0, nil
      client = assert(new{
        token = sandbox.tokens.retailer, base_url = sandbox.base_url, retries = 1,
        on_event = function(event)
          if event.name ~= "response" or event.kind ~= "connect" then return end
          refused = refused + 1
          if refused == 16 then
            later = process.sandbox{ plain = true, port = sandbox.port } -- it knows neither token nor order
          end
        end,
      })
      local report = client:cancel_orders(orders(60), {
        concurrency = concurrency, stop_on = {},
        on_progress = function(done) if done == 20 then sandbox:kill() end end,
      })
      later:close()
      local counts = report.counts
      assert.is_nil(report.stopped)
      assert.same({ 0, 0 }, { counts.not_sent, counts.not_started })
      assert.equal(60, counts.rejected + counts.unknown)
      -- a killed process may take connections, and lose a request on each, until the kernel has closed its sockets
      assert.is_true(counts.unknown <= 2 * concurrency, counts.unknown .. " are unknown")
      assert.is_true(refused >= 16)
    end)
  end

  it("ends early at a service that was never there", function()
    local attempts = 0
    local count = function(event) if event.name == "request" then attempts = attempts + 1 end end
    local gone = fault.refused()
    client = assert(new{ token = helper.TOKEN, base_url = gone.base_url, on_event = count })
    local report = run(orders(1000))
    assert.same({ "max_failures", "connect" }, { report.stopped, report.stopped_by.kind })
    assert.equal(1000, report.counts.not_sent + report.counts.not_started)
    assert.is_true(report.counts.not_sent >= 20 and report.counts.not_sent < 28)
    assert.is_true(attempts <= report.counts.not_sent + 100, attempts .. " attempts")
    gone:close()
  end)

  -- 1,000 first attempts, and 100 retries for the 500 tokens of the budget
  for name, case in pairs{
    ["refuses connections"] = { endpoint = "cancel_order", outcome = "not_sent" },
    ["answers each reading with 500"] = { endpoint = "get_order", outcome = "unknown", answer = helper.response(500) },
  } do
    it("makes 1,100 attempts at most at a service that " .. name .. ", with max_failures = false", function()
      local attempts = 0
      local gone = case.answer and fault.serve{
        script = "while conn:request() do conn:write(shared.answer) end", shared = { answer = case.answer },
      } or fault.refused()
      finally(function() gone:close() end)
      client = assert(new{
        token = helper.TOKEN, base_url = gone.base_url,
        on_event = function(event) if event.name == "request" then attempts = attempts + 1 end end,
      })
      local report = client:batch(case.endpoint, orders(1000), { max_failures = false })
      assert.is_nil(report.stopped)
      assert.equal(1000, report.counts[case.outcome])
      assert.is_true(attempts > 1000 and attempts <= 1100, attempts .. " attempts")
      if case.answer then assert.equal(attempts, gone:record().requests) end
    end)
  end

  it("does not start an item again with retries = 0", function()
    serve(OUTAGE, { before = 20, seconds = 20 / SPEED, answer = helper.response(429) }, { retries = 0 })
    local report, sends = run(orders(60))
    assert.equal(60, sends)
    assert.equal(60, report.counts.accepted + report.counts.rejected)
    assert.is_true(report.counts.rejected >= 5)
    assert.equal(report.counts.rejected, #report.rejected)
  end)

  it("starts an item again five times at most", function()
    serve("while conn:request() do conn:write(shared.answer) end", { answer = helper.response(429) })
    local report, sends = run(orders(1), { max_failures = false })
    assert.same({ 1, 6 }, { report.counts.rejected, sends })
    assert.is_nil(report.stopped)
  end)

  it("asks for another token again when an item was started again", function()
    local answers = {}
    for i, status in ipairs{ 401, 429, 429, 429, 401, 204 } do
      answers[i] = helper.response(status, "", { "Retry-After: 0" })
    end
    local asked = 0
    serve([[
      while conn:request() do
        shared.count = (shared.count or 0) + 1
        conn:write(shared.answers[shared.count])
      end]], { answers = answers }, {
      token = function(refused)
        if refused then asked = asked + 1 end
        return helper.TOKEN .. asked
      end,
    })
    local report = run(orders(1))
    assert.same({ 1, 2, 6 }, { report.counts.accepted, asked, server:record().requests })
  end)

  it("ends, and reports items that wait to be started again", function()
    serve("while conn:request() do conn:write(shared.answer) end", { answer = helper.response(429) })
    local report, sends = run(orders(40), { max_failures = 12 })
    assert.equal("max_failures", report.stopped)
    assert.equal(429, report.stopped_by.status)
    assert.same({ 8, 32 }, { report.counts.rejected, report.counts.not_started })
    assert.equal(server:record().requests, sends)
  end)

  it("ends at a longer pause than max_pause", function()
    serve("while conn:request() do conn:write(shared.answer) end",
      { answer = helper.response(503, "", { "Retry-After: 11" }) })
    local report = run(orders(20), { max_pause = 10, concurrency = 2 })
    assert.same({ "max_pause", 503 }, { report.stopped, report.stopped_by.status })
    assert.equal(20, report.counts.unknown + report.counts.not_started)
    assert.is_true(report.counts.unknown <= 2)
  end)

  it("lets an item's timeout stand still while the batch pauses", function()
    serve(OUTAGE, { before = 0, seconds = 20 / SPEED, answer = helper.response(429, "", { "Retry-After: 25" }) },
      { timeout = 1 })
    local report = run(orders(3))
    assert.equal(3, report.counts.accepted)
    assert.is_true(server:record().requests <= 6)
  end)
end)

describe("a batch", function()
  it("makes no more attempts in a second than its rate", function()
    serve(ACCEPT)
    local before = SPEED * core.now()
    assert.equal(20, run(orders(20), { rate = 2 }).counts.accepted)
    assert.is_true(SPEED * core.now() - before >= 9.5)
  end)

  it("asks an iterator again that has none now", function()
    serve(ACCEPT)
    local asked, given = 0, 0
    local report = run(function()
      asked = asked + 1
      if asked % 3 ~= 0 then return false end
      given = given + 1
      return given <= 5 and orders(given)[given] or nil
    end)
    assert.same({ 5, 18 }, { report.counts.accepted, asked })
    assert.is_nil(report.rejected)
  end)

  it("stops at statuses, and at what a function says", function()
    serve("while conn:request() do conn:write(shared.answer) end", { answer = helper.response(403) })
    local report = run(orders(9), { concurrency = 1 })
    assert.same({ "stop_on", 403, 1, 8 },
      { report.stopped, report.stopped_by.status, report.counts.rejected, report.counts.not_started })
    assert.equal(9, run(orders(9), { stop_on = { auth = true } }).counts.rejected)
    local seen = 0
    report = run(orders(9), { concurrency = 1, stop_on = function(err)
      seen = seen + 1
      return err.status == 403 and seen == 4
    end })
    assert.same({ "stop_on", 4, 5 }, { report.stopped, report.counts.rejected, report.counts.not_started })
  end)

  it("calls on_start before the first attempt of an item, which it may change", function()
    serve(ACCEPT)
    local items, started = orders(3), {}
    items[2] = { order_uuid = "none" }
    local report = run(items, { on_start = function(index, item)
      started[#started + 1] = index
      item.timeout = 5
    end })
    assert.same({ 1, 3 }, started)
    assert.same({ 2, 1 }, { report.counts.accepted, report.counts.not_sent })
  end)

  it("fills the given report, also when it raises", function()
    serve(ACCEPT)
    local report = { stopped = "old", rejected = 5 }
    assert.equal(report, run(orders(2), { report = report }))
    assert.same({ 2, {} }, { report.counts.accepted, report.rejected })
    assert.is_nil(report.stopped)
  end)

  it("aborts what is in flight after a Ctrl-C in a function, and reports it", function()
    serve("if n == 1 then conn:request() conn:write('HTTP/1.1 204 X\\r\\n\\r\\n') end conn:request() conn:hold()")
    local report, given = {}, 0
    local ok, why = pcall(client.cancel_orders, client, function()
      given = given + 1
      return orders(given)[given]
    end, { report = report, concurrency = 4, on_result = function() error("x.lua:1: interrupted!", 0) end })
    assert.same({ false, "x.lua:1: interrupted!" }, { ok, why })
    assert.same({ "interrupted", "x.lua:1: interrupted!" }, { report.stopped, report.stopped_by })
    local counts = report.counts
    assert.same({ 1, 4 }, { counts.accepted, given })
    assert.equal(3, #report.unknown + #report.not_sent)
    for _, row in ipairs(report.unknown) do assert.equal("aborted", row.err.kind) end
  end)
end)
