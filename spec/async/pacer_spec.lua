-- crux.pacer: when a batch may start its next attempt, on a clock of the spec's own.
local Pacer = require "crux.pacer"

local THROTTLED = { outcome = "rejected", kind = "http", status = 429 }
local REFUSED = { outcome = "not_sent", kind = "connect" }
local BROKEN = { outcome = "unknown", kind = "http", status = 500 }
local NO_TOKEN = { outcome = "not_sent", kind = "auth" }
local REJECTED = { outcome = "rejected", kind = "http", status = 422 }

local time, pacer

local function asking(status, seconds)
  return { outcome = status == 429 and "rejected" or "unknown", kind = "http", status = status, retry_after = seconds }
end

local function make(options)
  time = 100
  options = options or {}
  if options.max_failures == nil then options.max_failures = 20 end
  options.concurrency, options.max_pause = options.concurrency or 8, options.max_pause or 300
  pacer = Pacer.new(options, function() return time end)
end

-- A call of one attempt. Returns why the batch has to end.
local function call(err)
  local attempt = pacer:start()
  return err and pacer:hear(err, attempt) or pacer:finish(err, attempt)
end

-- Makes such a call when it may start, and returns how long that took.
local function wait_and_call(err)
  local pause = math.max(pacer:opens() - time, 0)
  time = time + pause
  call(err)
  return pause
end

local function pauses(count, err)
  local list = {}
  for i = 1, count do list[i] = wait_and_call(err) end
  return list
end

describe("a batch's pacer", function()
  it("pauses after a 429 or 503 with Retry-After until then", function()
    for _, status in ipairs{ 429, 503 } do
      make()
      call(asking(status, 7))
      assert.equal(107, pacer:opens())
      call(asking(status, 3))
      assert.equal(107, pacer:opens())
      assert.equal(8, pacer:limit())
    end
  end)

  it("pauses after a 429 without Retry-After for 1 s, doubling to 30", function()
    make{ max_failures = false }
    assert.same({ 0, 1, 2, 4, 8, 16, 30, 30 }, pauses(8, THROTTLED))
    time = pacer:opens()
    call()
    assert.same({ 0, 1 }, pauses(2, THROTTLED))
  end)

  it("does not double a pause for attempts that began before it", function()
    make()
    local attempts = {}
    for i = 1, 4 do attempts[i] = pacer:start() end
    for i = 1, 4 do pacer:hear(THROTTLED, attempts[i]) end
    assert.equal(101, pacer:opens())
  end)

  it("does not pause after other failures, while nothing has got through", function()
    make{ max_failures = false }
    assert.same({ 0, 0, 0, 0, 0, 0, 0 }, pauses(7, REFUSED))
    assert.equal(8, pacer:limit())
  end)

  it("makes one call at a time after five failures in a row, with pauses, until one gets through", function()
    for _, err in ipairs{ REFUSED, BROKEN, NO_TOKEN } do
      make{ max_failures = false }
      call()
      assert.same({ 0, 0, 0, 0 }, pauses(4, err))
      assert.equal(8, pacer:limit())
      assert.same({ 0, 1, 2, 4, 8, 16, 30, 30 }, pauses(8, err))
      assert.equal(1, pacer:limit())
      time = pacer:opens()
      call(REJECTED)
      assert.equal(8, pacer:limit())
      assert.same({ 0, 0, 0, 0, 0, 1 }, pauses(6, err))
    end
  end)

  it("counts failures in a row, and ends the batch", function()
    make{ max_failures = 3 }
    assert.same({ nil, nil, nil }, { call(REFUSED), call(BROKEN), call() })
    assert.is_nil(call(REFUSED))
    assert.is_nil(call{ outcome = "not_sent", kind = "invalid" })
    assert.is_nil(call(BROKEN))
    assert.equal("max_failures", call(REFUSED))
  end)

  it("ends the batch after a longer pause than it may wait", function()
    make{ max_pause = 10 }
    assert.is_nil(call(asking(503, 10)))
    assert.equal("max_pause", call(asking(503, 11)))
  end)

  it("spaces attempts by the rate", function()
    make{ rate = 4 }
    assert.same({ 0, 0.25, 0.25 }, pauses(3))
    time = time + 10
    assert.same({ 0, 0.25 }, pauses(2))
  end)

  it("has calls repeated that were not sent or throttled", function()
    make()
    assert.is_true(pacer:may_repeat(THROTTLED))
    assert.is_false(pacer:may_repeat(REFUSED)) -- nothing has got through: there is no pause to wait for
    call()
    for err, expected in pairs{
      [THROTTLED] = true, [REFUSED] = true, [NO_TOKEN] = false, [BROKEN] = false, [REJECTED] = false,
      [{ outcome = "not_sent", kind = "invalid" }] = false, [{ outcome = "not_sent", kind = "aborted" }] = false,
    } do assert.equal(expected, pacer:may_repeat(err)) end
  end)

  it("has them repeated after a pause, or once others get through", function()
    make()
    call()
    local attempt = pacer:start()
    pacer:finish(REFUSED, attempt)
    assert.is_false(pacer:is_over(attempt))
    call()
    assert.is_true(pacer:is_over(attempt))
    attempt = pacer:start()
    pacer:finish(REFUSED, attempt)
    call(asking(429, 5))
    assert.is_true(pacer:is_over(attempt))
  end)
end)
