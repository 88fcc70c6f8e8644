-- The code of docs/tracing.md: its spans, literally, and the trace that reaches the server.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local program = require "spec.support.program"

local PARENT = { trace_id = "4bf92f3577b34da6a3ce929d0e0e4736", span_id = "00f067aa0ba902b7" }

local spans, traced, client

teardown(fault.stop)

before_each(function()
  client = crux.new{ token = helper.TOKEN, proxy = "" }
  spans = {}
  local source = program.read("docs/tracing.md"):match("```lua\n(.-)\nlocal function export")
  local chunk = (loadstring or load)("local client = ...\n" .. source .. "\nreturn traced")
  traced = chunk(client)
end)

after_each(function() client:close() end)

local function export(span)
  helper.clean(span)
  spans[#spans + 1] = span
end

local function call(name, base_url)
  return helper.check(traced(name, { order_uuid = helper.ORDER, base_url = base_url }, PARENT,
    export))
end

describe("docs/tracing.md", function()
  it("makes a span for each attempt, which it sends on, and one for the call", function()
    local server = fault.serve{ script = helper.ANSWER, shared = { answers = {
      helper.response(503, "", { "Retry-After: 0" }), helper.response(200, "{}"),
    } } }
    call("get_order", server.base_url)
    local url = server.base_url .. "/orders/54a31ec5-b0be-4a92-af4c-1b75fe8e6e29/"
    local first, second, whole = spans[1], spans[2], spans[3]
    assert.equal(3, #spans)
    assert.same({
      ["http.request.method"] = "GET", ["url.full"] = url, ["server.address"] = "127.0.0.1",
      ["server.port"] = server.port, ["http.response.status_code"] = 503, ["error.type"] = "503",
      ["crux.outcome"] = "unknown",
    }, first.attributes)
    assert.same({
      ["http.request.method"] = "GET", ["url.full"] = url, ["server.address"] = "127.0.0.1",
      ["server.port"] = server.port, ["http.response.status_code"] = 200,
      ["http.request.resend_count"] = 1, ["crux.outcome"] = "accepted",
    }, second.attributes)
    assert.same({ ["crux.outcome"] = "accepted", ["crux.order_uuid"] = helper.ORDER },
      whole.attributes)
    for _, span in ipairs{ first, second } do
      assert.same({ "GET", "CLIENT", PARENT.trace_id, whole.span_id },
        { span.name, span.kind, span.trace_id, span.parent_id })
      assert.is_true(span.duration >= 0)
    end
    assert.same({ "get_order", "INTERNAL", PARENT.trace_id, PARENT.span_id },
      { whole.name, whole.kind, whole.trace_id, whole.parent_id })
    assert.same({ "ERROR", "UNSET", "UNSET" }, { first.status, second.status, whole.status })
    local requests = helper.new_requests(server)
    assert.equal(2, #requests)
    for i, request in ipairs(requests) do
      local line = ("\r\ntraceparent: 00-%s-%s-01\r\n"):format(PARENT.trace_id, spans[i].span_id)
      assert.is_truthy(request:find(line, 1, true), request)
    end
    assert.is_true(first.span_id ~= second.span_id)
  end)

  it("gives the kind as the type of an error without a response", function()
    local nobody = fault.refused()
    traced("cancel_order", { order_uuid = helper.ORDER, base_url = nobody.base_url, retries = 0 },
      PARENT, export)
    assert.equal(2, #spans)
    assert.same({
      ["http.request.method"] = "PATCH", ["url.full"] = nobody.base_url .. "/orders/cancel/",
      ["server.address"] = "127.0.0.1", ["server.port"] = nobody.port,
      ["error.type"] = "connect", ["crux.outcome"] = "not_sent",
    }, spans[1].attributes)
    assert.same({ ["crux.outcome"] = "not_sent", ["crux.order_uuid"] = helper.ORDER,
      ["error.type"] = "connect" }, spans[2].attributes)
    nobody:close()
  end)

  it("finds the server in URLs of all forms", function()
    for base_url, expected in pairs{
      ["http://[::1]:1"] = { "::1", 1 }, ["https://localhost:1/be/hind"] = { "localhost", 1 },
    } do
      spans = {}
      traced("get_order", { order_uuid = helper.ORDER, base_url = base_url, retries = 0 }, PARENT,
        export)
      local found = spans[1].attributes
      assert.same(expected, { found["server.address"], found["server.port"] })
    end
  end)
end)
