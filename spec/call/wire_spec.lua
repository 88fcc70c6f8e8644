-- One attempt sends the request at most once, and accepts only the response to that request,
-- whatever the server does. Compared with the server's record.
local crux = require "crux"
local core = require "crux.core"
local truncation = require "spec.support.truncation"
local fault = require "spec.support.fault"
local libcurl = require "spec.support.libcurl"

local TOKEN, ORDER, SUPPLIER = truncation.TOKEN, truncation.ORDER, truncation.SUPPLIER
local arguments, patches = truncation.arguments, truncation.patches

local function call(server, more)
  local result, err = core.cancel_order(arguments(server, more))
  local answer = result or err
  assert.is_nil(tostring(err):find(TOKEN, 1, true))
  assert.is_nil((answer.message or ""):find(TOKEN, 1, true))
  return answer
end

truncation.describe_faults(describe, it, core.cancel_order)

describe("a reused connection", function()
  it("closed after the request was sent gives unknown", function()
    local server = fault.serve{ script = [[
      conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
      conn:request() conn:cut()
    ]] }
    assert.equal("accepted", call(server).outcome)
    local answer = call(server)
    assert.same({ "unknown", "network", 1 }, { answer.outcome, answer.kind, answer.meta.sends })
    assert.equal(2, patches(server:record()))
    server:close()
  end)

  it("that the server has closed is replaced by a new one", function()
    for how, kind in pairs{
      ['conn:hold()'] = "timeout", ['conn:cut()'] = "proxy",
      ['conn:write_raw("HTTP/1.1 403 Forbidden\\r\\n\\r\\n") conn:cut()'] = "proxy",
      ['conn:write_raw("HTTP/1.1 200 OK\\r\\n\\r\\n") conn:cut()'] = "tls",
    } do
      -- a proxy and its server in one, which sends another response after the first
      local server = fault.serve{ tls = "good", script = [=[
        conn:raw(1)
        if n > 1 then ]=] .. how .. [=[ return end
        conn:write_raw("HTTP/1.1 200 OK\r\n\r\n")
        conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
        conn:sleep(0.1) conn:write("HTTP/1.1 408 Request Timeout\r\n\r\n") conn:tell("told", true)
        conn:hold()
      ]=] }
      local through = { proxy = server.base_url:gsub("^https", "http") }
      assert.equal("accepted", call(server, through).outcome)
      repeat core.sleep(0.005) until server:record().conns[1].told
      if kind == "timeout" then through.timeout = 1 end
      local answer = call(server, through)
      assert.same({ "not_sent", kind, 0, 0 }, { answer.outcome, answer.kind, answer.meta.sends, answer.meta.bytes_sent }, how)
      assert.equal(1, patches(server:record()))
      server:close()
    end
  end)
end)

describe("the wire format:", function()
  local OK = [[while true do
    if not conn:request() then break end
    conn:write("HTTP/1.1 204 No Content\r\n\r\n")
  end]]

  it("a request has the documented bytes", function()
    local server = fault.serve{ script = OK, tls = "good" }
    local answer = call(server)
    local data = server:record().conns[1].data
    local head, body = data:match("^(.-\r\n\r\n)(.*)$")
    assert.equal(#data, answer.meta.bytes_sent)
    assert.equal("PATCH /orders/cancel/ HTTP/1.1", head:match("^[^\r]*"))
    assert.truthy(head:find("\r\nAuthorization: Token " .. TOKEN .. "\r\n", 1, true))
    assert.truthy(head:find("\r\nContent-Type: application/json; charset=utf-8\r\n", 1, true))
    assert.truthy(head:find("\r\nAccept: application/json\r\n", 1, true))
    assert.truthy(head:find("\r\nContent-Length: " .. #body .. "\r\n", 1, true))
    assert.is_nil(head:lower():find("expect:", 1, true))
    assert.is_nil(head:lower():find("transfer-encoding:", 1, true))
    assert.same({ order_uuid = ORDER, skus = { { supplier_uuid = SUPPLIER, sku_id = "000106" } } },
      require "cjson".decode(body))
    server:close()
  end)

  it("a request is what dry_run returns", function()
    local server = fault.serve{ script = OK }
    local client = assert(crux.new{ token = TOKEN, base_url = server.base_url .. "/a/prefix/", api = "timp", user_agent = "shop/1.2" })
    local order = { order_uuid = ORDER, skus = { { supplier_uuid = SUPPLIER, price = 5 } } }
    local seen = 0
    for _, name in ipairs{ "cancel_order", "get_order" } do
      local asked = name == "get_order" and { order_uuid = ORDER } or order
      local dry = client:dry_run(name, asked)
      local answer = assert(client[name](client, asked))
      local data = server:record().conns[1].data:sub(seen + 1)
      seen = seen + #data
      assert.equal(#data, answer.meta.bytes_sent)
      local head, body = data:match("^(.-)\r\n\r\n(.*)$")
      local lines, found = 0, { }
      for line in (head .. "\r\n"):gmatch("(.-)\r\n") do
        lines = lines + 1
        if lines > 1 then
          local header, value = line:match("^(.-): (.*)$")
          found[header] = value
        else
          assert.equal(dry.method .. " " .. dry.url:match("^http://[^/]*(.*)$") .. " HTTP/1.1", line)
        end
      end
      assert.equal("Token " .. TOKEN, found.Authorization)
      found.Authorization = "Token [redacted]"
      assert.same(found, dry.headers)
      assert.equal(body, dry.body or "")
    end
    server:close()
  end)

  it("100 calls use one connection", function()
    for _, tls in ipairs{ false, "good" } do
      local server = fault.serve{ script = OK, tls = tls or nil }
      local client = assert(crux.new{ token = TOKEN, base_url = server.base_url, ca_file = fault.ca_file })
      for i = 1, 100 do
        local result = assert(client:cancel_order{ order_uuid = ORDER })
        assert.equal(i > 1, result.meta.reused)
        assert.equal(i > 1, result.meta.time.connect == 0)
      end
      assert.equal(1, server:record().connections)
      server:close()
    end
  end)

  it("100 TLS connections parse the CA bundle once", function()
    local why = libcurl.lacks "share a parsed CA bundle"
    if why then pending(why) end
    local server = fault.serve{ tls = "good", script = [[
      conn:request() conn:write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") conn:fin()
    ]] }
    local bundle = os.tmpname()
    local from, to = assert(io.open(fault.ca_file)), assert(io.open(bundle, "w"))
    to:write(from:read("*a"))
    from:close()
    to:close()
    local client = assert(crux.new{ token = TOKEN, base_url = server.base_url, ca_file = bundle })
    for i = 1, 100 do
      assert(client:cancel_order{ order_uuid = ORDER })
      if i == 1 then os.remove(bundle) end -- so that nobody can parse it again
    end
    assert.equal(100, server:record().connections)
    server:close()
  end)

  it("a large body is sent whole, and bytes_sent counts it", function()
    for _, tls in ipairs{ false, "good" } do
      local server = fault.serve{ script = OK, tls = tls or nil }
      local skus = {}
      for i = 1, 3000 do skus[i] = { supplier_uuid = SUPPLIER, quantity = i } end
      local result = assert(core.cancel_order(arguments(server, { skus = skus })))
      assert.equal(#server:record().conns[1].data, result.meta.bytes_sent)
      server:close()
    end
  end)

  it("a redirect is not followed", function()
    for status, outcome in pairs{ [301] = "rejected", [302] = "unknown", [303] = "unknown", [307] = "rejected", [308] = "rejected" } do
      local server = fault.serve{ script = ([[
        conn:request() conn:write("HTTP/1.1 %d X\r\nLocation: /elsewhere/\r\nContent-Length: 0\r\n\r\n") conn:request()
      ]]):format(status) }
      local answer = call(server)
      assert.same({ outcome, "http", status }, { answer.outcome, answer.kind, answer.status })
      assert.equal(1, server:record().requests)
      server:close()
    end
  end)
end)
