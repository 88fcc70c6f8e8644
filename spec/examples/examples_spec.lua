-- examples/cancel.lua, run with each exit status that it can have.
local fault = require "spec.support.fault"
local process = require "spec.support.process"
local program = require "spec.support.program"

local ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"

local sandbox

local function start_sandbox() sandbox = process.sandbox() end

after_each(function()
  if sandbox then sandbox:close() end
  sandbox = nil
end)
teardown(fault.stop)

describe("examples/cancel.lua", function()
  local function cancel(arguments, changes)
    local environment = {
      CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.tokens.retailer,
      CRUX_CA_FILE = sandbox.ca_file,
    }
    for name, value in pairs(changes or {}) do environment[name] = value end
    local status, stdout, stderr = program.run(environment, "examples/cancel.lua " .. arguments)
    local own = changes and changes.CRUX_TOKEN
    for _, token in pairs{ sandbox.tokens.retailer, sandbox.tokens.expired, own } do
      if token ~= "" then assert.is_nil((stdout .. stderr):find(token, 1, true)) end
    end
    return status, stdout, stderr
  end

  local function has(text, expected)
    assert.is_truthy(text:find(expected, 1, true), "expected " .. expected .. ", found " .. text)
  end

  it("exits with 0 if it was accepted", function()
    start_sandbox()
    local status, stdout, stderr = cancel(ORDER)
    assert.equal(0, status, stderr)
    assert.equal("", stderr)
    has(stdout, "accepted (HTTP 204)")
  end)

  it("cancels the SKUs of the named suppliers", function()
    start_sandbox()
    assert.equal(0, (cancel(ORDER .. " " .. SUPPLIER)))
    local status, _, stderr = cancel(ORDER .. " " .. SUPPLIER)
    assert.equal(1, status)
    has(stderr, "no longer pending")
    assert.equal(0, (cancel(ORDER)), "expected the other supplier's items to be pending still")
  end)

  it("exits with 1 if it was rejected", function()
    start_sandbox()
    local status, stdout, stderr = cancel(ORDER, { CRUX_TOKEN = "of-another" })
    assert.equal(1, status)
    assert.equal("", stdout)
    has(stderr, "rejected (auth): HTTP 401")
    has(stderr, "hint: the token is wrong or has expired")
    status, stdout, stderr = cancel("11111111-2222-3333-4444-555555555555")
    assert.equal("", stdout)
    assert.equal(1, status)
    has(stderr, "rejected (http): HTTP 422")
    status = cancel(sandbox.shipped_order)
    assert.equal(1, status)
  end)

  it("exits with 1 and prints its usage if the arguments are wrong", function()
    start_sandbox()
    for _, arguments in ipairs{ "", "--help", "54a31ec5", ORDER .. " 757ce28d" } do
      local status, stdout, stderr = cancel(arguments)
      assert.equal(1, status)
      assert.equal("", stdout)
      has(stderr, "usage: examples/cancel.lua ORDER_UUID [SUPPLIER_UUID...]")
    end
    local status, _, stderr = cancel(ORDER, { CRUX_BASE_URL = "ftp://127.0.0.1" })
    assert.equal(1, status)
    has(stderr, "CRUX_BASE_URL")
  end)

  it("exits with 2 if nothing was sent", function()
    start_sandbox()
    local nobody = fault.refused()
    local status, _, stderr = cancel(ORDER, { CRUX_BASE_URL = nobody.base_url })
    assert.equal(2, status)
    has(stderr, "not_sent (connect)")
    nobody:close()
    status, _, stderr = cancel(ORDER, { CRUX_TOKEN = "" })
    assert.equal(2, status)
    has(stderr, "not_sent (auth)")
    -- another sandbox's authority, say
    status, _, stderr = cancel(ORDER, { CRUX_CA_FILE = fault.ca_file })
    assert.equal(2, status)
    has(stderr, "not_sent (tls)")
  end)

  it("exits with 3 if it is unknown, and prints what get_order says", function()
    start_sandbox()
    local status, stdout, stderr = cancel(ORDER,
      { CRUX_BASE_URL = sandbox.base_url .. "/~drop=after,times=1/" })
    assert.equal(3, status)
    has(stderr, "unknown (network)")
    has(stdout, "000106           Cancelled")
    has(stdout, "2 of 2 line items are cancelled")
  end)

  it("finds by get_order that the request did not arrive", function()
    start_sandbox()
    local status, stdout = cancel(ORDER,
      { CRUX_BASE_URL = sandbox.base_url .. "/~drop=before,times=1/" })
    assert.equal(3, status)
    has(stdout, "0 of 2 line items are cancelled")
  end)

  it("reports that get_order failed", function()
    start_sandbox()
    local status, stdout, stderr = cancel(ORDER,
      { CRUX_BASE_URL = sandbox.base_url .. "/~status=500/" })
    assert.equal(3, status)
    assert.equal("", stdout)
    has(stderr, "unknown (http): HTTP 500")
    has(stderr, "could not read the order: unknown (http): HTTP 500")
  end)
end)

describe("each example:", function()
  before_each(function() sandbox = process.sandbox{ plain = true } end)

  for _, example in ipairs{ "cancel", "many", "cqueues", "luv" } do
    it(example .. ".lua takes an empty CRUX_CA_FILE as unset", function()
      local list = os.tmpname()
      program.write(list, ORDER .. "\n")
      local status, stdout, stderr = program.run({
        CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.tokens.retailer, CRUX_CA_FILE = "",
      }, ("examples/%s.lua %s"):format(example, example == "many" and list or ORDER))
      os.remove(list)
      assert.equal(0, status, stderr)
      assert.is_truthy(stdout:find("%f[%w]accepted%f[%W]"), stdout)
    end)
  end
end)
