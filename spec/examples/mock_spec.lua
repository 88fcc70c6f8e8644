-- How code that uses crux is tested without a server: examples/*.lua run in this process, with a
-- mock in place of the module. No spec here waits, whatever the examples wait for.
local helper = require "spec.helper"
local mock = require "crux.mock"
local program = require "spec.support.program"

local ORDER, OTHER = helper.ORDER, "11111111-2222-3333-4444-555555555555"

-- Runs an example. Returns its exit status and what it printed, to stdout and to stderr.
local function run(name, double, ...)
  local stdout, stderr, done = {}, {}, {}
  local path = "examples/" .. name
  local environment = setmetatable({
    arg = { [0] = path, ... },
    require = function(module) return module == "crux" and double or require(module) end,
    print = function(...)
      local words = { ... }
      for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
      stdout[#stdout + 1] = table.concat(words, "\t") .. "\n"
    end,
    io = { open = io.open, stderr = { write = function(_, ...) stderr[#stderr + 1] = table.concat{ ... } end } },
    os = {
      getenv = function() return nil end, execute = function() return nil end,
      exit = function(status) error({ done, status }, 0) end,
    },
  }, { __index = _G })
  local chunk
  if setfenv then chunk = setfenv(assert(loadfile(path)), environment)
  else chunk = assert(loadfile(path, "t", environment)) end
  local ok, why = pcall(chunk)
  if not ok and not (type(why) == "table" and why[1] == done) then error(why, 0) end
  return ok and 0 or why[2], table.concat(stdout), table.concat(stderr)
end

local function has(text, expected)
  assert.is_truthy(text:find(expected, 1, true), "expected " .. expected .. ", found " .. text)
end

local function order(...)
  local items = {}
  for i, status in ipairs{ ... } do
    items[i] = { uuid = OTHER, sku_id = "00010" .. i, supplier_uuid = helper.SUPPLIER, status = status }
  end
  return { status = 200, body = { line_items = items } }
end

describe("examples/cancel.lua with a mock", function()
  it("exits with 0 if it was accepted, after a retry", function()
    local double = mock.new{ answers = { cancel_order = { "dns", { status = 204 } } } }
    local status, stdout, stderr = run("cancel.lua", double, ORDER, helper.SUPPLIER)
    assert.same({ 0, "" }, { status, stderr })
    has(stdout, "accepted (HTTP 204)")
    assert.same({ order_uuid = ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }, double.calls[2].args)
  end)

  for fault, expected in pairs{
    dns = 2, connect = 2, proxy = 2, tls = 2, timeout = 2, network = 2, memory = 2,
    timeout_sent = 3, network_sent = 3, protocol_sent = 3, cut_body = 0,
  } do
    it(("exits with %d after the fault %s"):format(expected, fault), function()
      local double = mock.new{ answers = {
        cancel_order = function() return fault end, get_order = { order("Cancelled", "Pending") },
      } }
      local status, stdout = run("cancel.lua", double, ORDER)
      assert.equal(expected, status)
      assert.equal(expected == 3, stdout:find("1 of 2 line items are cancelled", 1, true) ~= nil)
    end)
  end

  it("prints what the service objects to", function()
    local double = mock.new{ answers = { cancel_order = { { status = 400, body = { skus = { { quantity = { "Too many." } } } } } } } }
    local status, _, stderr = run("cancel.lua", double, ORDER)
    assert.equal(1, status)
    has(stderr, "skus[1].quantity: Too many.")
  end)
end)

describe("examples/wait.lua with a mock", function()
  it("waits for a day, in no time", function()
    local reads = 0
    local double = mock.new{ answers = {
      cancel_order = { "timeout_sent" },
      get_order = function()
        reads = reads + 1
        if reads == 2 then return { status = 503 } end
        return order(reads < 2000 and "Pending" or "Cancelled")
      end,
    } }
    local status, stdout, stderr = run("wait.lua", double, ORDER, "86400")
    assert.same({ 0, "000101           cancelled\ncancelled\n", "" }, { status, stdout, stderr })
  end)

  it("exits with 2 if nobody confirms in time", function()
    local double = mock.new{ answers = { cancel_order = { { status = 204 } }, get_order = function() return order("Pending") end } }
    local status, stdout, stderr = run("wait.lua", double, ORDER, "3600")
    assert.same({ 2, "000101           open\nopen\n" }, { status, stdout })
    has(stderr, "the order was still open after 3600 s")
  end)
end)

describe("examples/many.lua with a mock", function()
  it("counts the outcomes, and waits for a 429", function()
    local list = os.tmpname()
    local uuids = {}
    for i = 1, 20 do uuids[i] = ("%08d-0000-0000-0000-000000000000"):format(i) end
    program.write(list, table.concat(uuids, "\n") .. "\n")
    local double = mock.new{ answers = { cancel_order = function(call)
      local number = tonumber(call.args.order_uuid:sub(1, 8))
      if number == 7 then return { status = 422 } end
      if number == 8 then return "network_sent" end
      return call.args.order_uuid == uuids[3] and { status = 429, headers = { ["Retry-After"] = 60 } } or { status = 204 }
    end } }
    local status, stdout = run("many.lua", double, list)
    os.remove(list)
    assert.equal(2, status)
    has(stdout, "accepted    17\nrejected    2\nnot_sent    0\nunknown     1\n")
    has(stdout, uuids[7] .. "\trejected (http): HTTP 422")
    has(stdout, uuids[8] .. "\tunknown (network)")
  end)
end)

describe("examples/supplier.lua with a mock", function()
  it("exits with 2 if an outcome is unknown", function()
    local double = mock.new{ answers = { confirm_order_cancellation = { { status = 200 }, { status = 422 }, "network_sent" } } }
    local status, stdout = run("supplier.lua", double, "confirm", ORDER, OTHER, ORDER)
    assert.equal(2, status)
    has(stdout, ORDER .. "\taccepted\n" .. OTHER .. "\trejected (http): HTTP 422")
    has(double.calls[1].url, "/timp/orders/cancel/" .. ORDER .. "/confirm/")
  end)
end)
