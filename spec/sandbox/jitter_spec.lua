-- The fault directive `jitter`: answers that take a random time.
local faults = require "crux.sandbox.faults"

describe("the fault jitter", function()
  it("delays each request by another time, up to its value", function()
    local decide, fault = faults.decider(), assert(faults.parse("jitter=20"))
    local low, high, sum = 20, 0, 0
    for _ = 1, 1000 do
      local found = decide(fault)
      assert.is_true(found.delay >= 0 and found.delay <= 20, tostring(found.delay))
      low, high, sum = math.min(low, found.delay), math.max(high, found.delay), sum + found.delay
    end
    local found = ("%g, %g, %g"):format(low, high, sum)
    assert.is_true(low < 1 and high > 19 and sum > 9000 and sum < 11000, found)
  end)

  it("is beside random failures where both are given", function()
    local decide, fault = faults.decider(), assert(faults.parse("jitter=20,random=7,rate=0.5"))
    local delays, failures = 0, 0
    for _ = 1, 1000 do
      local found = decide(fault)
      if found.delay then delays = delays + 1 else failures = failures + 1 end
    end
    assert.is_true(delays > 400 and failures > 300, ("%d, %d"):format(delays, failures))
  end)

  it("is a number of milliseconds", function()
    local _, why = faults.parse("jitter=much")
    assert.equal('bad value in fault "jitter=much"', why)
  end)
end)
