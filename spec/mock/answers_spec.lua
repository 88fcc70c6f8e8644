-- The answers and faults of crux.mock leave what the real thing leaves: the same result or err, in
-- every field but times, for each way to call.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local mocks = require "spec.support.mocks"
local proxies = require "spec.support.proxies"

local opened = {}
after_each(function()
  for _, server in ipairs(opened) do server:close() end
  opened = {}
end)

-- makes random pauses short
local random = core.random
setup(function() core.random = function() return 0.01 end end)
teardown(function()
  core.random = random
  fault.stop()
end)

local function keep(server)
  opened[#opened + 1] = server
  return server
end

local WAYS = {}
for name in pairs(mocks.WAYS) do WAYS[#WAYS + 1] = name end
table.sort(WAYS)

-- A real call and a mock's, each in every way.
local function compare(options, answers, real_answers, serve, name)
  name = name or "get_order"
  for _, way in ipairs(WAYS) do
    local server = serve and keep(serve(real_answers))
    local known = { token = helper.TOKEN, retries = 0, timeout = 10, base_url = server and server.base_url }
    for key, value in pairs(options or {}) do known[key] = value end
    local client = assert(crux.new(known))
    local call = { order_uuid = helper.ORDER }
    local expected = mocks.comparable(mocks.WAYS[way](client, name, call))
    client:close()
    local mock = mocks.new(answers, known)
    local found = mocks.comparable(mocks.WAYS[way](mock, name, call))
    assert.same(expected, found, way)
    assert.equal(found[2].meta.attempts, #mock.calls)
    mock:close()
  end
end

-- Long enough for a call to be under way by then, also under valgrind.
local SHORT = 0.3

local JSON = { "Content-Type: application/json" }

-- Each with what a real server sends.
local ANSWERS = {
  { "200 with a table", { status = 200, body = { a = { 1, "é", 2.5, true } } }, helper.response(200, '{"a":[1,"é",2.5,true]}', JSON) },
  { "200 with a string", { status = 200, body = '{"a":[1,{"b":null}]}' }, helper.response(200, '{"a":[1,{"b":null}]}') },
  { "200 without a body", { status = 200 }, helper.response(200) },
  { "204", { status = 204 }, helper.response(204) },
  { "200 that is not JSON", { status = 200, body = "<html>" }, helper.response(200, "<html>") },
  { "200 over max_body", { status = 200, body = ("x"):rep(2000) }, helper.response(200, ("x"):rep(2000)), { max_body = 1000 } },
  { "200 with headers", { status = 201, headers = { ["X-One"] = "1", ["X-Number"] = 2 } }, helper.response(201, "", { "X-Number: 2", "X-One: 1" }) },
  { "a length that is more than the body", { status = 200, body = "ab", headers = { ["content-length"] = "9" } },
    "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab" },
  { "chunks", { status = 200, body = "2\r\n{}\r\n0\r\n\r\n", headers = { ["Transfer-Encoding"] = "chunked" } },
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" },
  { "400 with fields", { status = 400, body = { skus = { { sku_id = { "No." } } } } }, helper.response(400, '{"skus":[{"sku_id":["No."]}]}', JSON) },
  { "401", { status = 401, body = { detail = "Invalid token." } }, helper.response(401, '{"detail":"Invalid token."}', JSON) },
  { "404 of a proxy", { status = 404, body = "gone", headers = { ["Content-Type"] = "text/plain" } },
    helper.response(404, "gone", { "Content-Type: text/plain" }) },
  { "409", { status = 409, body = { detail = "Shipped." } }, helper.response(409, '{"detail":"Shipped."}', JSON) },
  { "422 with RFC 9457", { status = 422, body = '{"title":"no"}', headers = { ["Content-Type"] = "application/problem+json" } },
    helper.response(422, '{"title":"no"}', { "Content-Type: application/problem+json" }) },
  { "429 with Retry-After", { status = 429, headers = { ["Retry-After"] = 7 } }, helper.response(429, "", { "Retry-After: 7" }) },
  { "500", { status = 500, body = "<p>" }, helper.response(500, "<p>") },
  { "503 with a date", { status = 503, headers = { Date = "Thu, 01 Jan 2026 00:00:00 GMT", ["Retry-After"] = "Thu, 01 Jan 2026 00:01:00 GMT" } },
    helper.response(503, "", { "Date: Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After: Thu, 01 Jan 2026 00:01:00 GMT" }) },
  { "301", { status = 301, headers = { Location = "/x" } }, helper.response(301, "", { "Location: /x" }) },
  { "302", { status = 302 }, helper.response(302) },
  { "304 with a body", { status = 304, body = "x" }, helper.response(304) },
  { "a status of no class", { status = 999 }, helper.response(999) },
  { "nothing but a 100", { status = 100 }, "HTTP/1.1 100 Continue\r\n\r\n" },
  { "a head over 64 KiB", { status = 200, headers = { X = ("x"):rep(66000) } }, "HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(66000) .. "\r\n\r\n" },
}

describe("an answer of a mock is that of a server that sends it:", function()
  for _, case in ipairs(ANSWERS) do
    it(case[1], function()
      compare(case[4], { case[2] }, { case[3] }, mocks.serve, "get_order")
      compare(case[4], { case[2] }, { case[3] }, mocks.serve, "cancel_order")
    end)
  end

  it("an answer that arrives in pieces of one byte", function()
    compare(nil, { { status = 422, body = { detail = "no" } } }, { helper.response(422, '{"detail":"no"}', JSON) },
      function(responses)
        return mocks.serve(responses, {
          script = "conn:request() for byte in shared.responses[n]:gmatch('.') do conn:write(byte) end conn:fin()",
        })
      end)
  end)

  it("several, with retries", function()
    local function headers(attempt) return { ["X-Attempt"] = ("x"):rep(attempt.attempt) } end
    compare({ retries = 2, headers = headers }, { { status = 503 }, "network_sent", { status = 200, body = "[]" } },
      { helper.response(503), "", helper.response(200, "[]") }, mocks.serve)
  end)

  it("an attempt that was sent, and one that was not", function()
    fault.start()
    compare({ retries = 1, ca_file = fault.ca_file }, { "network_sent", "network" }, nil, function()
      return fault.serve{
        tls = "good", tls_version = "1.2", tickets = 0,
        script = "if n == 1 then conn:request() else conn:cork() conn:handshake() end conn:fin()",
      }
    end)
  end)
end)

describe("a fault of a mock is that of the network:", function()
  local function holding() return fault.serve{ script = "conn:request() conn:hold()" } end
  local function tls(name, script, more)
    return function()
      local options = { tls = name, script = script }
      for key, value in pairs(more or {}) do options[key] = value end
      return fault.serve(options)
    end
  end

  it("dns", function() compare({ base_url = "https://crux.invalid", proxy = "" }, { "dns" }) end)

  it("connect", function() compare(nil, { "connect" }, nil, fault.refused) end)

  it("connect with a proxy for other hosts", function()
    fault.start()
    compare({ proxy = "http://127.0.0.1:1", no_proxy = "127.0.0.1", ca_file = fault.ca_file }, { "connect" }, nil, function()
      local port = keep(fault.refused())
      return { base_url = "https://127.0.0.1:" .. port.port, close = function() end }
    end)
  end)

  it("proxy", function()
    local proxy = keep(fault.serve{ script = proxies.HTTP, shared = { answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n" } })
    compare({ base_url = "https://orders.example", proxy = "http://user:secret@127.0.0.1:" .. proxy.port }, { "proxy" })
  end)

  it("tls", function()
    fault.start()
    compare({ ca_file = fault.ca_file }, { "tls" }, nil, tls("self_signed", "conn:handshake()"))
  end)

  it("timeout", function()
    compare({ connect_timeout = SHORT }, { "timeout" }, nil, fault.silent)
    compare({ timeout = SHORT }, { "timeout" }, nil, fault.silent)
  end)

  it("network", function()
    fault.start()
    compare({ ca_file = fault.ca_file }, { "network" }, nil,
      tls("good", "conn:cork() conn:handshake() conn:fin()", { tls_version = "1.2", tickets = 0 }))
  end)

  it("timeout_sent", function()
    compare({ timeout = SHORT }, { "timeout_sent" }, nil, holding)
    compare({ timeout = SHORT }, { "timeout_sent" }, nil, holding, "cancel_order")
  end)

  it("network_sent", function()
    compare(nil, { "network_sent" }, { "" }, mocks.serve)
    compare(nil, { "network_sent" }, { "" }, mocks.serve, "cancel_order")
  end)

  it("protocol_sent", function() compare(nil, { "protocol_sent" }, { "not HTTP\r\n\r\n" }, mocks.serve) end)

  it("cut_body", function()
    compare(nil, { "cut_body" }, { "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n{\"uuid" }, mocks.serve)
  end)

  it("memory, which is not sent and not retried", function()
    for _, way in ipairs(WAYS) do
      local mock = mocks.new({ "memory" })
      local result, err = helper.check(mocks.WAYS[way](mock, "get_order", { order_uuid = helper.ORDER }))
      assert.is_nil(result)
      assert.same({ "not_sent", "memory", false, 1, 0 }, { err.outcome, err.kind, err.retryable, err.meta.attempts, err.meta.sends })
      assert.equal(1, #mock.calls)
    end
  end)

  it("proxy, which a call without one cannot have", function()
    local mock = mocks.new({ "proxy", "proxy" }, { base_url = "http://127.0.0.1:1" })
    local ok, why = pcall(mock.get_order, mock, { order_uuid = helper.ORDER })
    assert.is_false(ok)
    assert.is_truthy(why:find("expected a call through a proxy", 1, true), why)
  end)
end)
