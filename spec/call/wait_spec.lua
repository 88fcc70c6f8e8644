-- wait_cancelled: reads an order until nothing named is open, on a clock of the spec's own.
local core = require "crux.core"
local wait = require "crux.wait"

local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"
local OTHER = "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"

local function line(status, supplier) return { status = status, supplier_uuid = supplier or SUPPLIER } end
local function order(...) return { status = 200, body = { line_items = { ... } },
  meta = { attempts = 1, sends = 1, bytes_sent = 100 } } end
local function failure(kind, retryable, after)
  local err = core.failure(kind, "as the spec wants it")
  err.retryable, err.retry_after = retryable, after
  err.meta = { attempts = 1, sends = 0, bytes_sent = 0 }
  return err
end

-- A client whose get_order gives one answer after the other, the last for ever; each takes `takes` seconds.
local function clock(answers, takes)
  local made = { time = 1000, slept = {}, asked = {} }
  made.host = {
    now = function() return made.time end,
    sleep = function(seconds)
      made.slept[#made.slept + 1] = seconds
      made.time = made.time + seconds
    end,
  }
  function made:get_order(arguments)
    local copy = {}
    for name, value in pairs(arguments) do copy[name] = value end
    self.asked[#self.asked + 1] = copy
    self.time = self.time + (takes or 0)
    local answer = answers[math.min(#self.asked, #answers)]
    if answer.kind then return nil, answer end
    -- a new account each time, as of a real call
    return { status = answer.status, body = answer.body, headers = {}, raw = "",
      meta = { attempts = 1, sends = 1, bytes_sent = 100, body_error = answer.body_error } }
  end
  return made
end

local function run(made, arguments) return wait(made, arguments, made.host, 20) end

describe("wait_cancelled", function()
  it("returns the state once nothing is open, without a further pause", function()
    local made = clock{ order(line "Allocated"), order(line "Allocated"), order(line "Cancelled") }
    local shown, err = run(made, { order_uuid = "u" })
    assert.is_nil(err)
    assert.equal("cancelled", shown.state)
    assert.same({ 30, 30 }, made.slept)
  end)

  it("looks at the lines that skus names alone", function()
    local made = clock{ order(line("Cancelled"), line("Allocated", OTHER)) }
    assert.equal("cancelled", run(made, { order_uuid = "u", skus = { { supplier_uuid = SUPPLIER } } }).state)
    assert.equal(1, #made.asked)
  end)

  it("passes other fields and options on to get_order, with what is left of its time as timeout", function()
    local made = clock({ order(line "Allocated"), order(line "Rejected") }, 2)
    run(made, { order_uuid = "u", api = "timp", timeout = 40, interval = 25, skus = { { supplier_uuid = SUPPLIER } } })
    assert.same({ { order_uuid = "u", api = "timp", timeout = 20 },
      { order_uuid = "u", api = "timp", timeout = 13 } }, made.asked)
  end)

  it("goes on after a retryable error, no sooner than the server asks for", function()
    local made = clock{ failure("connect", true), failure("http", true, 90), order(line "Cancelled") }
    assert.equal("cancelled", run(made, { order_uuid = "u" }).state)
    assert.same({ 30, 90 }, made.slept)
  end)

  it("ends with an error that is not retryable, and the last state seen", function()
    local refused = failure("http", false)
    local made = clock{ order(line "Allocated"), refused }
    local shown, err = run(made, { order_uuid = "u" })
    assert.is_nil(shown)
    assert.equal(refused, err)
    assert.equal("open", err.cancellation.state)
  end)

  it("ends with kind timeout, the last state seen and the account of all reads", function()
    local made = clock{ order(line "Allocated") }
    local shown, err = run(made, { order_uuid = "u", timeout = 100, interval = 40 })
    assert.is_nil(shown)
    assert.same({ 40, 40, 20 }, made.slept)
    assert.equal("timeout", err.kind)
    assert.equal("unknown", err.outcome)
    assert.equal("open", err.cancellation.state)
    assert.same({ 3, 3, 300 }, { err.meta.attempts, err.meta.sends, err.meta.bytes_sent })
    assert.equal("the order was still open after 100 s", err.message)
  end)

  it("takes a timeout of more than a day", function()
    local made = clock{ order(line "Allocated") }
    run(made, { order_uuid = "u", timeout = 200000, interval = 50000 })
    assert.equal(4, #made.asked)
    assert.equal(20, made.asked[1].timeout)
  end)

  for _, case in ipairs{
    { "timeout", 0 }, { "timeout", -1 }, { "timeout", math.huge }, { "timeout", "60" }, { "interval", 0 },
    { "interval", 0 / 0 }, { "interval", true },
  } do
    it(("is invalid for %s = %s, without a request"):format(case[1], tostring(case[2])), function()
      local made = clock{ order(line "Cancelled") }
      local shown, err = run(made, { order_uuid = "u", [case[1]] = case[2] })
      assert.is_nil(shown)
      assert.same({ "invalid", case[1] }, { err.kind, err.field })
      assert.same({}, made.asked)
    end)
  end

  it("is invalid for a SKU that no line has, and claims nothing of the read", function()
    local shown, err = run(clock{ order(line "Allocated") }, { order_uuid = "u", skus = { { supplier_uuid = OTHER } } })
    assert.is_nil(shown)
    assert.same({ "invalid", "skus[1]", "unknown", 1 }, { err.kind, err.field, err.outcome, err.meta.sends })
  end)

  it("ends with kind protocol when the response is no order", function()
    local shown, err = run(clock{ { status = 200, body_error = "not JSON: <" } }, { order_uuid = "u" })
    assert.is_nil(shown)
    assert.same({ "protocol", "unknown", 200 }, { err.kind, err.outcome, err.status })
    assert.equal("get_order: expected an order, found not JSON: <", err.message)
  end)

  it("leaves the arguments as they were", function()
    local arguments = { order_uuid = "u", timeout = 10, interval = 1, skus = { { supplier_uuid = SUPPLIER } } }
    run(clock{ order(line "Cancelled") }, arguments)
    assert.same({ order_uuid = "u", timeout = 10, interval = 1, skus = { { supplier_uuid = SUPPLIER } } }, arguments)
  end)
end)
