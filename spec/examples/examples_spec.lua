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
    local environment = { CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.tokens.retailer, CRUX_CA_FILE = sandbox.ca_file }
    for name, value in pairs(changes or {}) do environment[name] = value end
    local status, said, complaints = program.run(environment, "examples/cancel.lua " .. arguments)
    for _, token in pairs{ sandbox.tokens.retailer, sandbox.tokens.expired, changes and changes.CRUX_TOKEN } do
      if token ~= "" then assert.is_nil((said .. complaints):find(token, 1, true)) end
    end
    return status, said, complaints
  end

  local function has(text, expected)
    assert.is_truthy(text:find(expected, 1, true), "expected " .. expected .. ", found " .. text)
  end

  it("exits with 0 if it was accepted", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER)
    assert.equal(0, status, complaints)
    assert.equal("", complaints)
    has(said, "accepted (HTTP 204)")
  end)

  it("cancels what the suppliers named have of an order", function()
    start_sandbox()
    assert.equal(0, (cancel(ORDER .. " " .. SUPPLIER)))
    local status, _, complaints = cancel(ORDER .. " " .. SUPPLIER)
    assert.equal(1, status)
    has(complaints, "no longer pending")
    assert.equal(0, (cancel(ORDER)), "expected the other supplier's items to be pending still")
  end)

  it("exits with 1 if it was rejected", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_TOKEN = "of-another" })
    assert.equal(1, status)
    assert.equal("", said)
    has(complaints, "rejected (auth): HTTP 401")
    has(complaints, "hint: the token is wrong or has expired")
    status, said, complaints = cancel("11111111-2222-3333-4444-555555555555")
    assert.equal("", said)
    assert.equal(1, status)
    has(complaints, "rejected (http): HTTP 422")
    status = cancel(sandbox.shipped_order)
    assert.equal(1, status)
  end)

  it("exits with 1 and shows how it is used if the arguments are wrong", function()
    start_sandbox()
    for _, arguments in ipairs{ "", "--help", "54a31ec5", ORDER .. " 757ce28d" } do
      local status, said, complaints = cancel(arguments)
      assert.equal(1, status)
      assert.equal("", said)
      has(complaints, "usage: examples/cancel.lua ORDER_UUID [SUPPLIER_UUID...]")
    end
    local status, _, complaints = cancel(ORDER, { CRUX_BASE_URL = "ftp://127.0.0.1" })
    assert.equal(1, status)
    has(complaints, "CRUX_BASE_URL")
  end)

  it("exits with 2 if nothing was sent", function()
    start_sandbox()
    local nobody = fault.refused()
    local status, _, complaints = cancel(ORDER, { CRUX_BASE_URL = nobody.base_url })
    assert.equal(2, status)
    has(complaints, "not_sent (connect)")
    nobody:close()
    status, _, complaints = cancel(ORDER, { CRUX_TOKEN = "" })
    assert.equal(2, status)
    has(complaints, "not_sent (auth)")
    -- another sandbox's authority, say
    status, _, complaints = cancel(ORDER, { CRUX_CA_FILE = fault.ca_file })
    assert.equal(2, status)
    has(complaints, "not_sent (tls)")
  end)

  it("exits with 3 if it is unknown, and has looked", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~drop=after,times=1/" })
    assert.equal(3, status)
    has(complaints, "unknown (network)")
    has(said, "000106           Cancelled")
    has(said, "2 of 2 line items are cancelled")
  end)

  it("looks, and finds that it did not arrive", function()
    start_sandbox()
    local status, said = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~drop=before,times=1/" })
    assert.equal(3, status)
    has(said, "0 of 2 line items are cancelled")
  end)

  it("says so if it could not look", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~status=500/" })
    assert.equal(3, status)
    assert.equal("", said)
    has(complaints, "unknown (http): HTTP 500")
    has(complaints, "could not look at the order: unknown (http): HTTP 500")
  end)
end)
