-- The clock of crux.mock: calls that wait, pause or time out take no time, in the order in which
-- they would happen; and calls that do not block.
local core = require "crux.core"
local helper = require "spec.helper"
local mocks = require "spec.support.mocks"

local ORDER = { order_uuid = helper.ORDER }
local UUIDS = {}
for i = 1, 9 do UUIDS[i] = ("%08d-0000-0000-0000-000000000000"):format(i) end

-- The longest pauses there are, so that each is known.
local random = core.random
before_each(function() core.random = function() return 0.999 end end)
after_each(function() core.random = random end)

local function near(expected, found)
  assert.is_true(math.abs(expected - found) < 0.01, ("expected %g, found %g"):format(expected, found))
end

-- Runs a function, and returns the seconds that passed on the mock's clock. None pass elsewhere.
local function seconds(mock, run)
  local now, before, began = mock:clock(), mock:clock()(), core.now()
  run()
  assert.is_true(core.now() - began < 5, "took real time")
  return now() - before
end

describe("a blocking call of a mock takes none but the mock's own time:", function()
  local function passes(expected, answers, options)
    local mock = mocks.new(answers, options)
    near(expected, seconds(mock, function() helper.check(mock:get_order(ORDER)) end))
    return mock
  end

  it("none for an answer", function() passes(0, { { status = 200 } }) end)
  it("connect_timeout for timeout", function() passes(10, { "timeout" }, { retries = 0 }) end)
  it("the timeout for timeout, if that is shorter", function() passes(3, { "timeout" }, { timeout = 3, retries = 0 }) end)
  it("the timeout for timeout_sent", function() passes(86400, { "timeout_sent" }, { timeout = 86400 }) end)
  it("random pauses", function() passes(0.4995 + 0.999, { "dns", "connect", { status = 200 } }) end)
  it("the server's Retry-After", function()
    passes(20, { { status = 429, headers = { ["Retry-After"] = 20 } }, { status = 200 } })
  end)

  it("none for an attempt whose deadline has passed, which takes no answer", function()
    for _, way in ipairs{ "blocking", "poll", "step" } do
      local answers = {
        get_order = function() return { status = 200 } end, list_orders = { "timeout_sent" },
      }
      local double = assert(require "crux.mock".new{ answers = answers, retries = 0 })
      local _, err = helper.check(mocks.WAYS[way](double, "get_order", {
        order_uuid = helper.ORDER, timeout = 5, on_event = function(event)
          if event.name == "request" then double.new{ timeout = 6, retries = 0 }:list_orders{ start = 0, limit = 1 } end
        end,
      }))
      assert.same({ "not_sent", "timeout", 1 }, { err.outcome, err.kind, err.meta.attempts })
      assert.equal("queued for 0 ms without a free connection", err.message)
      assert.equal(1, #double.calls)
    end
  end)

  it("what is left after earlier attempts", function()
    local mock = passes(30, { "timeout", "timeout", "timeout" }, { connect_timeout = 14 })
    assert.equal(3, #mock.calls)
  end)
end)

describe("a submitted call of a mock", function()
  it("is done at its next poll, with all attempts and pauses", function()
    local mock = mocks.new{ "connect", "connect", { status = 200 } }
    local pending = assert(mock:submit("get_order", ORDER))
    assert.equal(1, mock:in_flight())
    local done, result, err
    near(0.4995 + 0.999, seconds(mock, function() done, result, err = pending:poll() end))
    assert.is_true(done)
    helper.check(result, err)
    assert.equal(3, result.meta.attempts)
    assert.equal(0, mock:in_flight())
    assert.same({ true, result }, { pending:poll() })
    assert.equal(pending, mock:step())
    assert.is_nil(mock:step())
  end)

  it("is done at the next step, with as many attempts as there can be", function()
    local answers = {}
    for i = 1, 10 do answers[i] = "dns" end
    answers[11] = { status = 204 }
    local mock = mocks.new(answers, { retries = 10, timeout = 100 })
    local pending = assert(mock:submit("cancel_order", ORDER))
    assert.equal(pending, mock:step())
    assert.equal(11, #mock.calls)
  end)

  it("ends in the order in which it would", function()
    local answers = {
      [UUIDS[1]] = { "timeout_sent" },
      [UUIDS[2]] = { "connect", { status = 200 } },
      [UUIDS[3]] = { { status = 429, headers = { ["Retry-After"] = 15 } }, { status = 200 } },
      [UUIDS[4]] = { "timeout", { status = 200 } },
    }
    local mock = assert(require "crux.mock".new{
      answers = { get_order = function(call) return table.remove(answers[call.args.order_uuid], 1) end },
    })
    local ended, held = {}, {} -- a pending that is dropped is aborted
    near(30, seconds(mock, function()
      for i = 1, 4 do held[i] = assert(mock:submit("get_order", { order_uuid = UUIDS[i], on_event = function(e)
        if e.name == "response" and e.kind ~= "connect" and (e.status or 200) == 200 and e.attempt < 3 then
          ended[#ended + 1] = i .. " " .. e.outcome
        end
      end })) end
      for _ = 1, 4 do assert(mock:step()) end
    end))
    assert.equal(4, #held)
    assert.same({ "2 accepted", "4 not_sent", "4 accepted", "3 accepted", "1 unknown" }, ended)
  end)

  it("waits as long as wait says", function()
    local mock = mocks.new{ "timeout", { status = 200 } }
    local pending = assert(mock:submit("get_order", ORDER))
    local answer
    near(4, seconds(mock, function() answer = { pending:wait(4) } end))
    assert.same({ false }, answer)
    near(6.2, seconds(mock, function() answer = { pending:wait(6.2) } end))
    assert.same({ false }, answer)
    near(0.2995, mock:timeout())
    near(0.2995, seconds(mock, function() answer = { pending:wait() } end))
    assert.is_true(answer[1])
    assert.equal(200, answer[2].status)
  end)

  it("is unknown if it is aborted after it was sent, and else not sent", function()
    local mock = mocks.new{ "timeout_sent", "timeout", { status = 204 }, { status = 204 } }
    local expected = { { "unknown", 1 }, { "not_sent", 0 } }
    for i = 1, 2 do
      local pending = assert(mock:submit("cancel_order", ORDER))
      pending:abort()
      local _, _, err = pending:poll()
      helper.check(nil, err)
      assert.same({ "aborted", expected[i][1], expected[i][2] }, { err.kind, err.outcome, err.meta.sends })
    end
    assert.equal(0, mock:in_flight())
    assert.equal(204, mock:cancel_order(ORDER).status)
    mock:submit("cancel_order", ORDER)
    near(0, seconds(mock, function() repeat until not mock:step() end))
  end)

  it("is aborted by close", function()
    local mock = mocks.new{ "timeout_sent", { status = 204 } }
    local slow, fast = assert(mock:submit("cancel_order", ORDER)), assert(mock:submit("cancel_order", ORDER))
    mock:close()
    local _, _, err = slow:poll()
    assert.same({ "aborted", "unknown" }, { err.kind, err.outcome })
    assert.is_true(fast:poll())
    assert.equal(0, mock:in_flight())
    assert.has_error(function() mock:step() end, "the client is closed")
  end)

  it("is forgotten with its pending", function()
    local mock = mocks.new{ "timeout_sent", { status = 204 } }
    assert(mock:submit("cancel_order", ORDER))
    collectgarbage()
    collectgarbage()
    assert.equal(0, mock:in_flight())
    near(0, seconds(mock, function() assert.is_nil(mock:step()) end))
  end)

  it("can be polled in its own callback", function()
    local mock = mocks.new{ "connect", { status = 200 } }
    local pending, seen = nil, {}
    pending = assert(mock:submit("get_order", { order_uuid = helper.ORDER, on_event = function()
      if pending then seen[#seen + 1] = pending:poll() end
    end }))
    local done, result = pending:poll()
    assert.is_true(done and result.status == 200)
    assert.same({ false, false, false, false }, seen)
  end)
end)

describe("the descriptor of a mock #stock", function()
  local is_readable
  setup(function()
    local cqueues = require "cqueues"
    is_readable = function(fd) return cqueues.poll({ pollfd = fd, events = "r" }, 0) ~= 0 end
  end)

  for _, case in ipairs{
    { "an answer", { status = 200 } }, { "a fault that takes time", "timeout_sent" },
  } do
    it("is readable while step has something to do, for " .. case[1], function()
      local mock = mocks.new{ case[2], case[2] }
      assert.equal("r", mock:events())
      local fd = mock:pollfd()
      assert.is_false(is_readable(fd))
      local first, second = assert(mock:submit("get_order", ORDER)), assert(mock:submit("get_order", ORDER))
      assert.is_true(is_readable(fd))
      assert.equal(first, mock:step())
      assert.is_true(is_readable(fd))
      assert.equal(second, mock:step())
      assert.is_nil(mock:step())
      assert.is_false(is_readable(fd))
      assert.equal(fd, mock:pollfd())
    end)
  end

  it("is readable during a pause", function()
    local mock = mocks.new{ "connect", { status = 200 } }
    local pending = assert(mock:submit("get_order", ORDER))
    assert.is_false(pending:wait(0.1))
    assert.is_true(is_readable(mock:pollfd()))
    assert.equal(pending, mock:step())
  end)
end)

describe("a batch of a mock", function()
  it("keeps the rate on the mock's clock", function()
    local mock = assert(require "crux.mock".new{ answers = { cancel_order = function() return { status = 204 } end } })
    local items = {}
    for i = 1, 101 do items[i] = ORDER end
    local report
    local passed = seconds(mock, function() report = mock:cancel_orders(items, { rate = 0.1 }) end)
    assert.is_true(passed >= 1000 and passed <= 1010, tostring(passed))
    assert.equal(101, report.counts.accepted)
  end)

  it("makes its calls at the same time", function()
    local mock = assert(require "crux.mock".new{ answers = { cancel_order = function() return "timeout_sent" end } })
    local items = {}
    for i = 1, 16 do items[i] = ORDER end
    local report
    near(60, seconds(mock, function() report = mock:cancel_orders(items, { concurrency = 8, max_failures = false }) end))
    assert.equal(16, report.counts.unknown)
  end)

  it("waits for the end of an outage", function()
    local mock
    mock = assert(require "crux.mock".new{ answers = { cancel_order = function()
      local now = mock:clock()() - 1000
      return (#mock.calls <= 5 or now > 100) and { status = 204 } or "connect"
    end } })
    local items = {}
    for i = 1, 20 do items[i] = ORDER end
    local report = mock:cancel_orders(items)
    assert.same({ accepted = 20, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 }, report.counts)
    assert.is_true(mock:clock()() > 1100)
  end)

  it("ends by max_pause", function()
    local mock = mocks.new{ { status = 503, headers = { ["Retry-After"] = 301 } } }
    local report = mock:cancel_orders({ ORDER, ORDER }, { concurrency = 1 })
    assert.equal("max_pause", report.stopped)
  end)

  it("asks an iterator again that has nothing at first", function()
    local mock, asked = mocks.new{}, 0
    local function items()
      asked = asked + 1
      if asked == 1000 then return nil end
      return false
    end
    near(19.98, seconds(mock, function() mock:batch("get_order", items) end))
  end)
end)

describe("reading with a mock", function()
  local function line(i, status) return { uuid = UUIDS[i], sku_id = "1", supplier_uuid = helper.SUPPLIER, status = status } end

  it("waits for the suppliers on the mock's clock", function()
    local reads = 0
    local mock = assert(require "crux.mock".new{ answers = { get_order = function()
      reads = reads + 1
      if reads == 2 then return "timeout_sent" end
      return { status = 200, body = { line_items = { line(1, reads > 5 and "Cancelled" or "Pending") } } }
    end } })
    local shown, err
    near(5 * 30 + 30, seconds(mock, function()
      shown, err = mock:wait_cancelled{ order_uuid = helper.ORDER, timeout = 100000, interval = 30 }
    end))
    assert.is_nil(err)
    assert.equal("cancelled", shown.state)
  end)

  it("ends a wait for two days at its timeout", function()
    local mock = assert(require "crux.mock".new{ answers = { get_order = function()
      return { status = 200, body = { line_items = { line(1, "Pending") } } }
    end } })
    local _, err
    near(172800, seconds(mock, function()
      _, err = mock:wait_cancelled{ order_uuid = helper.ORDER, timeout = 172800, interval = 3600 }
    end))
    assert.same({ "timeout", "open" }, { err.kind, err.cancellation.state })
  end)

  it("pages through orders", function()
    local mock = assert(require "crux.mock".new{ answers = { list_orders = function(call)
      local orders = {}
      for i = call.args.start + 1, math.min(call.args.limit + 1, 9) do orders[#orders + 1] = { uuid = UUIDS[i] } end
      return { status = 200, body = { orders = orders } }
    end } })
    local found = {}
    for order, err in mock:orders{ page = 3 } do
      assert.is_nil(err)
      found[#found + 1] = order.uuid
    end
    assert.same(UUIDS, found)
    assert.equal(0, mock.calls[1].args.start)
    assert.is_true(mock.calls[2].args.start > 0)
  end)
end)

describe("a mock #stock", function()
  it("starts no thread, in any way to call", function()
    if not io.open("/proc/self/status") then return pending("needs /proc") end
    local printed = helper.child(([[
      local function threads()
        return tonumber(io.open("/proc/self/status"):read("*a"):match("Threads:%%s+(%%d+)"))
      end
      local order = { order_uuid = %q }
      local before = threads()
      local mock = require "crux.mock".new{ answers = {
        get_order = function() return { status = 200, body = "{}" } end,
        cancel_order = function() return "timeout_sent" end,
      } }
      mock:get_order(order)
      for _, name in ipairs{ "get_order", "cancel_order" } do
        local pending = mock:submit(name, order)
        mock:pollfd()
        pending:poll()
        mock:submit(name, order):wait()
        mock:submit(name, order):abort()
        mock:batch(name, { order, order })
      end
      print(threads() - before, #mock.calls)
    ]]):format(helper.ORDER))
    assert.equal("0\t11", printed)
  end)
end)
