-- Options in use: those of a call before those of its client, trust anchors and proxies.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local U = helper.ORDER
local PASSWORD = "proxy-pa55word"
helper.watch(PASSWORD)

local server, secure

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  secure = fault.serve{ tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) } }
end)

teardown(function()
  server:close()
  secure:close()
  fault.stop()
end)

describe("an option of a call overrides the client's:", function()
  it("every option can be given per call", function()
    local other = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(200, ("x"):rep(100)) } }
    local events, also = {}, {}
    local client = assert(crux.new{
      token = helper.TOKEN, base_url = server.base_url, user_agent = "first/1", max_body = 50, api = "v1", timeout = 10,
      on_event = function(event) events[#events + 1] = event end,
    })
    helper.new_requests(server)
    helper.call(client.cancel_order, client, { order_uuid = U })
    local sent = helper.new_requests(server)[1]
    assert.is_truthy(sent:find("^PATCH /orders/cancel/ HTTP/1%.1\r\n"))
    assert.is_truthy(sent:find("\r\nUser-Agent: first/1 crux/" .. crux._VERSION .. "\r\n", 1, true))
    assert.equal(2, #events)
    local result = helper.call(client.cancel_order, client, {
      order_uuid = U, token = "another-token", base_url = other.base_url .. "/pre", user_agent = "second",
        max_body = 60, api = "timp",
      on_event = function(event) also[#also + 1] = event end,
    })
    sent = helper.new_requests(other)[1]
    assert.is_truthy(sent:find("^PATCH /pre/timp/orders/cancel/ HTTP/1%.1\r\n"))
    assert.is_truthy(sent:find("\r\nUser-Agent: second crux/", 1, true))
    assert.is_truthy(sent:find("\r\nAuthorization: Token another-token\r\n", 1, true))
    assert.equal(60, #result.raw)
    assert.is_truthy(result.meta.body_error)
    assert.equal(2, #events)
    assert.equal(2, #also)
    -- only for that call
    helper.call(client.cancel_order, client, { order_uuid = U })
    assert.is_truthy(helper.new_requests(server)[1]:find("Token " .. helper.TOKEN, 1, true))
    client:close()
    other:close()
  end)

  it("a string token overrides a function, and the other way round", function()
    local client = assert(crux.new{ base_url = server.base_url, token = function() return "from-the-function" end })
    helper.new_requests(server)
    helper.call(client.cancel_order, client, { order_uuid = U })
    helper.call(client.cancel_order, client, { order_uuid = U, token = "from-the-call" })
    client:close()
    client = assert(crux.new{ base_url = server.base_url, token = "from-the-client" })
    helper.call(client.cancel_order, client, { order_uuid = U, token = function() return "from-its-function" end })
    helper.call(client.cancel_order, client, { order_uuid = U })
    client:close()
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do tokens[#tokens + 1] = sent:match("Token (%S+)") end
    table.sort(tokens)
    assert.same({ "from-its-function", "from-the-call", "from-the-client", "from-the-function" }, tokens)
  end)

  it("timeout", function()
    local silent = fault.serve{}
    local client = assert(crux.new{ token = helper.TOKEN, base_url = silent.base_url, timeout = 60, retries = 0 })
    local before = core.now()
    local _, err = helper.call(client.cancel_order, client, { order_uuid = U, timeout = 1 })
    assert.same({ "unknown", "timeout" }, { err.outcome, err.kind })
    local took = core.now() - before
    assert.is_true(took >= 0.99 and took < 30, took)
    client:close()
    silent:close()
  end)

  it("connect_timeout ends an attempt to connect before timeout", function()
    local never = fault.silent()
    local before = core.now()
    local _, err = helper.call(core.cancel_order, helper.arguments(never, { timeout = 60, connect_timeout = 0.2 }))
    assert.same({ "not_sent", "timeout", true }, { err.outcome, err.kind, err.retryable })
    local took = core.now() - before
    assert.is_true(took >= 0.19 and took < 30, took)
    never:close()
  end)
end)

describe("the trust anchors", function()
  -- a sanitizer is slow at parsing the system's bundle
  local function call(more)
    local arguments = helper.arguments(secure, more)
    arguments.timeout, arguments.connect_timeout = 120, 120
    return helper.call(core.cancel_order, arguments)
  end

  it("are those of ca_file or ca_path, not the system's", function()
    assert.equal("accepted", call{ ca_file = fault.ca_file }.outcome)
    assert.equal("accepted", call{ ca_path = fault.ca_path }.outcome)
    local _, err = call()
    assert.same({ "not_sent", "tls", false }, { err.outcome, err.kind, err.retryable })
    local empty = os.tmpname()
    _, err = call{ ca_file = empty }
    assert.same({ "not_sent", "tls" }, { err.outcome, err.kind })
    os.remove(empty)
    _, err = call{ ca_file = "/does/not/exist.pem" }
    assert.same({ "not_sent", "invalid", "ca_file" }, { err.outcome, err.kind, err.field })
    assert.is_truthy(err.message:find("/does/not/exist.pem", 1, true))
    _, err = call{ ca_path = "/does/not/exist" }
    assert.same({ "not_sent", "invalid", "ca_path" }, { err.outcome, err.kind, err.field })
  end)
end)

describe("a proxy", function()
  it("gets CONNECT and its password, never the token", function()
    local proxy = fault.serve{ script = "conn:request() conn:write(shared.answer) conn:eof()", shared = {
      answer = helper.response(403),
    } }
    local url = ("http://user:%s@127.0.0.1:%d"):format(PASSWORD, proxy.port)
    local _, err = helper.call(core.cancel_order, helper.arguments(secure, { proxy = url, ca_file = fault.ca_file }))
    assert.same({ "not_sent", "proxy", false }, { err.outcome, err.kind, err.retryable })
    local where = ("through the proxy 127.0.0.1:%d: the proxy answered HTTP 403"):format(proxy.port)
    assert.is_truthy(err.message:find(where, 1, true), err.message)
    local data = proxy:record().conns[1].data
    assert.is_truthy(data:find("^CONNECT 127%.0%.0%.1:" .. secure.port))
    assert.is_truthy(data:find("Proxy-Authorization: Basic ", 1, true))
    assert.is_nil(data:find(helper.TOKEN, 1, true))
    proxy:close()
  end)

  it("that cannot be reached gives kind proxy, without its password", function()
    local port = fault.refused_port()
    for _, host in ipairs{ "127.0.0.1:" .. port, "no-such-host.invalid:1" } do
      local url = ("http://user:%s@%s"):format(PASSWORD, host)
      local _, err = helper.call(core.cancel_order, helper.arguments(secure, { proxy = url, ca_file = fault.ca_file }))
      assert.same({ "not_sent", "proxy" }, { err.outcome, err.kind })
    end
  end)

  it("is not used for http", function()
    local url = "http://127.0.0.1:" .. fault.refused_port()
    for _, fn in ipairs{ core.cancel_order, crux.cancel_order } do
      assert.equal("accepted", helper.call(fn, helper.arguments(server, { proxy = url })).outcome)
    end
  end)
end)

-- Copies in Lua strings belong to the host, and are not checked.
it("the token and the proxy's password are wiped from memory with the client", function()
  local object = forks.compile("secrets.c", helper.curl_libs)
  finally(function() os.remove(object) end)
  local leaves = assert(package.loadlib(object, "luaopen_secrets"))()
  local token, proxy = "a-token", "http://me:password@127.0.0.1"
  assert.is_false(leaves(token, proxy, token))
  assert.is_false(leaves(token, proxy, "password"))
end)
