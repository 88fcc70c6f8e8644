-- examples/wait.lua and examples/supplier.lua, run as a user would: a retailer asks and waits, and
-- suppliers confirm or reject.
local process = require "spec.support.process"
local program = require "spec.support.program"

local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"
local OTHER = "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"
local BOTH_CANCELLED = "000106           cancelled\n000107           cancelled\ncancelled\n"

local sandbox
after_each(function()
  sandbox:close()
end)

local function run(user, script, environment)
  local set = {
    CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.tokens[user],
    CRUX_CA_FILE = sandbox.ca_file,
  }
  for name, value in pairs(environment or {}) do set[name] = value end
  return program.run(set, "examples/" .. script)
end

describe("examples/wait.lua", function()
  for _, api in ipairs{ "v1", "timp" } do
    it("exits with 0 once the suppliers have confirmed, in " .. api, function()
      sandbox = process.sandbox{ confirm = 0.3 }
      local status, stdout, stderr = run("retailer", "wait.lua " .. sandbox.orders[1] .. " 5",
        { CRUX_API = api })
      assert.equal("", stderr)
      assert.equal(BOTH_CANCELLED, stdout)
      assert.equal(0, status)
    end)
  end

  it("waits for the named suppliers alone", function()
    sandbox = process.sandbox{}
    local status, stdout = run("retailer", "wait.lua " .. sandbox.orders[1] .. " 5 " .. OTHER)
    assert.same({ 0, "000107           cancelled\ncancelled\n" }, { status, stdout })
  end)

  it("exits with 2 if nobody confirms in time", function()
    sandbox = process.sandbox{ confirm = "manual" }
    local status, stdout, stderr = run("retailer", "wait.lua " .. sandbox.orders[1] .. " 0.3")
    assert.equal("000106           open\n000107           open\nopen\n", stdout)
    local text = "wait: unknown (timeout): the order was still open after 0.3 s"
    assert.is_truthy(stderr:find(text, 1, true), stderr)
    assert.equal(2, status)
  end)

  it("waits after an unknown outcome too", function()
    sandbox = process.sandbox{}
    local status, stdout = run("retailer", "wait.lua " .. sandbox.orders[1] .. " 5",
      { CRUX_BASE_URL = sandbox.base_url .. "/~drop=after,times=1" })
    assert.same({ 0, BOTH_CANCELLED }, { status, stdout })
  end)

  it("exits with 1 if the request was rejected, or the arguments are wrong", function()
    sandbox = process.sandbox{}
    local status, stdout, stderr = run("retailer", "wait.lua " .. sandbox.shipped_order)
    assert.same({ 1, "" }, { status, stdout })
    assert.is_truthy(stderr:find("wait: rejected (http): HTTP 422", 1, true), stderr)
    status, stdout, stderr = run("retailer", "wait.lua")
    assert.equal("", stdout)
    assert.equal(1, status)
    assert.is_truthy(stderr:find("usage: examples/wait.lua ORDER_UUID", 1, true), stderr)
  end)
end)

describe("examples/supplier.lua", function()
  it("confirms and rejects orders, each for its own supplier", function()
    sandbox = process.sandbox{ confirm = "manual" }
    local first, second = sandbox.orders[1], sandbox.orders[2]
    for _, uuid in ipairs{ first, second } do
      assert.equal(2, (run("retailer", "wait.lua " .. uuid .. " 0.1")))
    end
    local status, stdout, stderr = run("supplier",
      ("supplier.lua confirm %s %s"):format(first, second))
    assert.same({ 0, "", first .. "\taccepted\n" .. second .. "\taccepted\n" },
      { status, stderr, stdout })
    assert.equal(0, (run("other_supplier", "supplier.lua confirm " .. first)))
    assert.equal(0, (run("other_supplier", "supplier.lua reject " .. second)))
    -- asking again is refused where nothing is pending any more, and passed on where a supplier
    -- rejected
    assert.equal(1, (run("retailer", "wait.lua " .. first .. " 0.1")))
    local _, shown = run("retailer", "wait.lua " .. second .. " 0.1")
    assert.equal("000106           cancelled\n000107           open\nopen\n", shown)
  end)

  it("exits with 1 and says why if there is nothing to decide, or for a retailer", function()
    sandbox = process.sandbox{ confirm = "manual" }
    local status, stdout = run("supplier", "supplier.lua confirm " .. sandbox.orders[1])
    assert.equal(1, status)
    local text = "no cancellation of this order waits for this supplier"
    assert.is_truthy(stdout:find(text, 1, true), stdout)
    status, stdout = run("retailer", "supplier.lua reject " .. sandbox.orders[1])
    assert.equal(1, status)
    assert.is_truthy(stdout:find("reject_order_cancellation is for suppliers", 1, true), stdout)
  end)

  it("exits with 3 if the arguments are wrong", function()
    sandbox = process.sandbox{}
    for _, arguments in ipairs{ "", "confirm", "cancel " .. SUPPLIER } do
      local status, _, stderr = run("supplier", "supplier.lua " .. arguments)
      assert.equal(3, status)
      local text = "usage: examples/supplier.lua confirm|reject ORDER_UUID"
      assert.is_truthy(stderr:find(text, 1, true), stderr)
    end
  end)
end)
