-- The option `headers`: which lines it adds to a request, and that nothing shows their values.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U = helper.ORDER
local SECRET = "a-gateway-key-0123456789"
helper.watch(SECRET)
local server, client

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  client = assert(crux.new{
    token = helper.TOKEN, base_url = server.base_url,
    headers = { ["X-Gateway"] = SECRET, traceparent = "00-client" },
  })
end)
teardown(function()
  client:close()
  server:close()
  fault.stop()
end)

-- The lines of a request that begin with one of these names.
local function lines(request, ...)
  local found = {}
  for _, name in ipairs{ ... } do
    for line in request:gmatch("[^\r\n]+") do
      if line:sub(1, #name + 1):lower() == name:lower() .. ":" then found[#found + 1] = line end
    end
  end
  return found
end

describe("headers", function()
  before_each(function() helper.new_requests(server) end)

  it("of a client are in each of its requests, whatever makes it", function()
    local order = { order_uuid = U }
    helper.call(client.cancel_order, client, order)
    helper.call(client.get_order, client, { order_uuid = U, timeout = 5 })
    client:submit("cancel_order", order):wait(10)
    helper.call(core.get_order, { token = helper.TOKEN, base_url = server.base_url, order_uuid = U,
      headers = { ["X-Gateway"] = SECRET, traceparent = "00-client" } })
    local sent = helper.new_requests(server)
    assert.equal(4, #sent)
    for _, request in ipairs(sent) do
      assert.same({ "X-Gateway: " .. SECRET, "traceparent: 00-client" }, lines(request, "X-Gateway", "traceparent"))
      assert.same({ "Authorization: Token " .. helper.TOKEN }, lines(request, "Authorization"))
    end
  end)

  it("of a call are added to the client's, and the same name wins", function()
    local result = helper.call(client.cancel_order, client,
      { order_uuid = U, headers = { TraceParent = "00-call", ["X-Request-Id"] = "7" } })
    local sent = helper.new_requests(server)
    assert.equal(#sent[1], result.meta.bytes_sent)
    assert.same({ "X-Gateway: " .. SECRET, "TraceParent: 00-call", "X-Request-Id: 7" },
      lines(sent[1], "X-Gateway", "traceparent", "X-Request-Id"))
    helper.call(client.cancel_order, client, { order_uuid = U })
    assert.same({ "traceparent: 00-client" }, lines(helper.new_requests(server)[1], "traceparent", "X-Request-Id"))
  end)

  it("of a call that exceed 8 KiB with the client's are invalid", function()
    local _, err = helper.call(client.cancel_order, client, { order_uuid = U, headers = { a = ("x"):rep(8192 - 5) } })
    assert.same({ "invalid", "headers" }, { err.kind, err.field })
    assert.equal(0, #helper.new_requests(server))
  end)

  it("with the same name twice are invalid, whichever of the two is told", function()
    local _, err = helper.check(crux.new{ headers = { ["X-A"] = SECRET, ["x-a"] = SECRET } })
    assert.same({ "invalid", "headers" }, { err.kind, err.field })
    assert.equal("headers: expected each name once, found 'x-a' twice",
      (err.message:gsub("X%-A", "x-a")))
  end)

  it("are redacted in a dry run", function()
    local dry = assert(client:dry_run("cancel_order", { order_uuid = U, headers = { ["X-Request-Id"] = "7" } }))
    helper.clean(dry)
    helper.clean(tostring(dry))
    assert.same({ "[redacted]", "[redacted]", "[redacted]" },
      { dry.headers["X-Gateway"], dry.headers.traceparent, dry.headers["X-Request-Id"] })
  end)

  it("are not shown where one of them is invalid", function()
    for _, headers in ipairs{
      { ["X-Gateway"] = SECRET .. "\n" }, { ["X-Gateway"] = SECRET, Host = SECRET }, SECRET,
      { SECRET }, { [SECRET .. "\n"] = "" }, { [SECRET .. " "] = SECRET },
    } do
      local _, err = helper.check(crux.new{ headers = headers })
      assert.same({ "invalid", "headers" }, { err.kind, err.field })
      helper.clean(tostring(err))
    end
    -- a token would be a name too
    local _, err = helper.check(crux.new{ token = helper.TOKEN, headers = { [helper.TOKEN] = 5 } })
    assert.equal("headers: expected a string without CR, LF and NUL, found a number", err.message)
  end)
end)
