-- Proxies: every kind tunnels a call to a TLS server, and none sees a token. A failure of a proxy
-- has kind proxy, and a proxy's response is never taken for the server's.
local calls = require "spec.support.calls"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local proxies = require "spec.support.proxies"

local PASSWORD = "proxy-pass-w0rd"
helper.watch(PASSWORD, "another-pass-w0rd")

local KINDS = {
  { scheme = "http", script = proxies.HTTP },
  { scheme = "https", script = proxies.HTTP, tls = "good" },
  { scheme = "socks4", script = proxies.SOCKS4, told = "address" },
  { scheme = "socks4a", script = proxies.SOCKS4, told = "name" },
  { scheme = "socks5", script = proxies.SOCKS5, told = "address" },
  { scheme = "socks5h", script = proxies.SOCKS5, told = "name" },
}

local server, plain

setup(function()
  server, plain = calls.serve(), calls.serve{ tls = false }
end)

teardown(function()
  server:close()
  plain:close()
  fault.stop()
end)

local function serve(kind, more)
  local options = { script = kind.script, tls = kind.tls }
  for name, value in pairs(more or {}) do options[name] = value end
  return fault.serve(options)
end

local function url(kind, proxy, user)
  return ("%s://%s127.0.0.1:%d"):format(kind.scheme, user or "", proxy.port)
end

-- The URL of an http proxy.
local function http(proxy, user) return url(KINDS[1], proxy, user) end

local function through(proxy, more)
  local made = { ca_file = fault.ca_file, proxy = http(proxy) }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

-- Asserts that nothing has reached a server since this was last asked.
local function nothing_at(listener) assert.equal(0, listener:record(true).requests) end

for _, way in ipairs(calls.WAYS) do
  describe(("a proxy of a %s call"):format(way.name), function()
    for _, kind in ipairs(KINDS) do
      local name = "with %s:// keeps one connection, and does not see the token"
      it(name:format(kind.scheme), function()
        local proxy = serve(kind)
        server:record(true)
        local client = calls.client({ base_url = "https://localhost:" .. server.port },
          through(proxy, { proxy = url(kind, proxy) }))
        for i = 1, 3 do
          local answer = way.call(client)
          local meta = answer.meta
          assert.same({ "accepted", i > 1, 1 }, { answer.outcome, meta.reused, meta.sends })
        end
        local record, origin = proxy:record(), server:record()
        assert.same({}, record.errors)
        assert.same({ 1, 3 }, { record.connections, origin.requests })
        assert.is_nil(record.conns[1].data:find(helper.TOKEN, 1, true))
        assert.equal(kind.told, record.conns[1].kind)
        -- an address is either of localhost's
        local host, port = record.conns[1].target:match("^(.*):(%d+)$")
        assert.equal(kind.told ~= "address", host == "localhost")
        assert.equal(tostring(server.port), port)
        client:close()
        proxy:close()
      end)
    end

    it("gets the decoded user and password of its URL", function()
      local proxy = serve(KINDS[1])
      local options = through(proxy, { proxy = http(proxy, "user%40x:p%3Ass@") })
      assert.equal("accepted", calls.once(way, server, options).outcome)
      assert.equal("Basic dXNlckB4OnA6c3M=", proxy:record().conns[1].credentials)
      proxy:close()
      proxy = serve(KINDS[5], { shared = { password = PASSWORD } })
      options = through(proxy, { proxy = url(KINDS[5], proxy, "me:" .. PASSWORD .. "@") })
      assert.equal("accepted", calls.once(way, server, options).outcome)
      assert.equal("me", proxy:record().conns[1].user)
      proxy:close()
    end)

    it("gets separate connections for different credentials", function()
      local proxy = serve(KINDS[1])
      local client = calls.client(server, through(proxy))
      for _ = 1, 2 do
        for _, user in ipairs{ "", "a:x@", "a:y@", "b:x@", "A:x@" } do
          assert.equal("accepted", way.call(client, { proxy = http(proxy, user) }).outcome)
        end
      end
      local record, seen = proxy:record(), {}
      assert.equal(5, record.connections)
      for _, conn in ipairs(record.conns) do seen[conn.credentials or "none"] = true end
      assert.same({
        none = true, ["Basic YTp4"] = true, ["Basic YTp5"] = true, ["Basic Yjp4"] = true,
        ["Basic QTp4"] = true,
      }, seen)
      client:close()
      proxy:close()
    end)

    it("gets separate TLS sessions for different credentials", function()
      local origin = calls.serve{ tls_version = "1.2", script = calls.CLOSING }
      local proxy = serve(KINDS[1])
      local client = calls.client(origin, through(proxy))
      for _, user in ipairs{ "a:x@", "a:y@", "", "a:x@" } do
        assert.equal("accepted", way.call(client, { proxy = http(proxy, user) }).outcome)
      end
      assert.equal("accepted", way.call(client, { proxy = "" }).outcome)
      local resumed = {}
      for i, conn in ipairs(origin:record().conns) do resumed[i] = conn.resumed end
      assert.same({ false, false, false, true, false }, resumed)
      client:close()
      proxy:close()
      origin:close()
    end)

    it("that refuses with 403 or 407 is not retried", function()
      server:record(true)
      for _, status in ipairs{ 403, 407 } do
        local proxy = serve(KINDS[1], { shared = { answer = helper.response(status, "go away") } })
        local options = { proxy = http(proxy, "user:" .. PASSWORD .. "@"), retries = 3 }
        local answer = calls.once(way, server, through(proxy, options))
        assert.same({ "not_sent", "proxy", false, 1 }, calls.facts(answer))
        assert.is_truthy(answer.message:find("127.0.0.1:" .. proxy.port, 1, true), answer.message)
        assert.is_truthy(answer.message:find(tostring(status), 1, true), answer.message)
        assert.equal(1, proxy:record().connections)
        proxy:close()
      end
      nothing_at(server)
    end)

    it("that refuses with another status can be retried", function()
      server:record(true)
      for _, status in ipairs{ 500, 502, 503, 504 } do
        local proxy = serve(KINDS[1], { shared = { answer = helper.response(status) } })
        local options = through(proxy, { proxy = http(proxy, "user:" .. PASSWORD .. "@") })
        local answer = calls.once(way, server, options)
        assert.same({ "not_sent", "proxy", true, 1 }, calls.facts(answer))
        assert.is_truthy(answer.message:find("127.0.0.1:" .. proxy.port, 1, true), answer.message)
        assert.is_truthy(answer.message:find(tostring(status), 1, true), answer.message)
        proxy:close()
      end
      nothing_at(server)
      local proxy = serve(KINDS[1], { shared = { answers = { helper.response(502) } } })
      local answer = calls.once(way, server, through(proxy, { retries = 2 }))
      assert.same({ "accepted", 2, 1 }, { answer.outcome, answer.meta.attempts, answer.meta.sends })
      proxy:close()
    end)

    it("with SOCKS that refuses is kind proxy", function()
      for _, case in ipairs{
        { KINDS[3], 91 }, { KINDS[4], 92 }, { KINDS[5], 1 }, { KINDS[5], 2 }, { KINDS[6], 4 },
        { KINDS[6], 5 },
      } do
        local proxy = serve(case[1], { shared = { refuse = case[2] } })
        local answer = calls.once(way, server, through(proxy, { proxy = url(case[1], proxy) }))
        assert.equal("not_sent proxy", calls.brief(answer), case[1].scheme .. case[2])
        proxy:close()
      end
      local proxy = serve(KINDS[5], { shared = { password = PASSWORD } })
      local wrong = through(proxy, { proxy = url(KINDS[5], proxy, "me:another-pass-w0rd@") })
      local answer = calls.once(way, server, wrong)
      assert.same({ "not_sent", "proxy" }, { answer.outcome, answer.kind })
      proxy:close()
    end)

    it("that cannot connect to the server is kind proxy", function()
      local refused = fault.refused()
      for _, kind in ipairs(KINDS) do
        local proxy = serve(kind)
        local answer = calls.once(way, { base_url = "https://127.0.0.1:" .. refused.port },
          through(proxy, { proxy = url(kind, proxy) }))
        assert.same({ "not_sent", "proxy", true, 1 }, calls.facts(answer), kind.scheme)
        proxy:close()
      end
      refused:close()
    end)

    it("that closes without a whole response is kind proxy", function()
      for _, script in ipairs{
        "conn:cut()", "conn:rst()", "conn:request() conn:cut()", "conn:request() conn:rst()",
        "conn:request() conn:write('HTTP/1.1 200 Connection est') conn:cut()",
        "conn:request() conn:write('HTTP/1.1 502 Bad Gateway\\r\\nX: y') conn:rst()",
      } do
        local proxy = fault.serve{ script = script }
        local answer = calls.once(way, server, through(proxy))
        assert.same({ "not_sent", "proxy", true, 1 }, calls.facts(answer), script)
        proxy:close()
      end
    end)

    -- Before 7.84 or so libcurl takes the status for the whole head.
    it("that closes after its 200 is kind tls or proxy", function()
      local answered = "conn:request() conn:write('HTTP/1.1 200 OK\\r\\n') "
      local whole = answered .. "conn:write('\\r\\n') "
      for _, script in ipairs{
        answered .. "conn:rst()", whole .. "conn:cut()", whole .. "conn:rst()",
        whole .. "conn:read(1) conn:cut()", whole .. "conn:read(1) conn:rst()",
      } do
        local proxy = fault.serve{ script = script }
        local answer = calls.once(way, server, through(proxy))
        assert.equal("not_sent", answer.outcome, script)
        assert.is_true(answer.kind == "tls" or answer.kind == "proxy", answer.kind)
        proxy:close()
      end
    end)

    it("that does not respond fails at connect_timeout", function()
      for _, script in ipairs{
        "conn:hold()", "conn:request() conn:hold()",
        "conn:request() conn:write('HTTP/1.1 200 O') conn:hold()",
      } do
        local proxy = fault.serve{ script = script }
        local answer = calls.once(way, server, through(proxy, { connect_timeout = 0.3 }))
        assert.same({ "not_sent", "timeout", true, 1 }, calls.facts(answer), script)
        proxy:close()
      end
    end)

    -- Bytes after the 200 are read as TLS, and are not; a Content-Length of the 200 is ignored.
    it("that sends bytes after its 200 is not taken for the server", function()
      server:record(true)
      for _, stray in ipairs{
        helper.response(204), "x", helper.response(200, "{}"), ("\0"):rep(100),
      } do
        local proxy = serve(KINDS[1], { shared = { stray = stray } })
        local answer = calls.once(way, server, through(proxy))
        assert.equal("not_sent", answer.outcome, stray)
        assert.is_true(answer.kind == "tls" or answer.kind == "proxy", answer.kind)
        proxy:close()
      end
      local proxy = serve(KINDS[1], { shared = {
        answer = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n",
        stray = "HTTP/1.1 204 No Content\r\n\r\n",
      } })
      assert.equal("not_sent", calls.once(way, server, through(proxy)).outcome)
      proxy:close()
      nothing_at(server)
    end)

    it("can respond with HTTP/1.0, interim responses and header fields", function()
      for _, answer in ipairs{
        "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nVia: 1.1 x\r\nX-Long: " .. ("y"):rep(5000) .. "\r\n\r\n",
      } do
        local proxy = serve(KINDS[1], { shared = { answer = answer } })
        assert.equal("accepted", calls.once(way, server, through(proxy)).outcome)
        proxy:close()
      end
    end)

    for _, identity in ipairs{ "self_signed", "wrong_name", "expired" } do
      local what = identity:gsub("_", " ")
      it("with https:// and a certificate that is " .. what .. " gets no request", function()
        local proxy = serve(KINDS[2], { tls = identity })
        local options = through(proxy, { proxy = url(KINDS[2], proxy, "user:" .. PASSWORD .. "@") })
        local answer = calls.once(way, server, options)
        assert.equal("not_sent", answer.outcome)
        assert.is_true(answer.kind == "tls" or answer.kind == "proxy", answer.kind)
        assert.equal(0, proxy:record().bytes)
        proxy:close()
      end)
    end

    it("with https:// needs TLS 1.2 at least", function()
      local proxy = serve(KINDS[2], { tls_version = "1.1" })
      local answer = calls.once(way, server, through(proxy, { proxy = url(KINDS[2], proxy) }))
      assert.equal("not_sent", answer.outcome)
      assert.equal(0, proxy:record().bytes)
      proxy:close()
    end)

    it("does not make a server's wrong certificate valid", function()
      local origin = calls.serve{ tls = "wrong_name" }
      for _, kind in ipairs(KINDS) do
        local proxy = serve(kind)
        local options = through(proxy, { proxy = url(kind, proxy), retries = 3 })
        local answer = calls.once(way, origin, options)
        assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer), kind.scheme)
        proxy:close()
      end
      nothing_at(origin)
      origin:close()
    end)

    it("of any kind is not used for http", function()
      local refused = fault.refused()
      for _, kind in ipairs(KINDS) do
        for _, host in ipairs{ "127.0.0.1", "localhost" } do
          local answer = calls.once(way, { base_url = ("http://%s:%d"):format(host, plain.port) },
            { proxy = url(kind, refused) })
          assert.equal("accepted", answer.outcome, kind.scheme)
        end
      end
      refused:close()
    end)
  end)

  describe(("localhost in the URL of a %s call"):format(way.name), function()
    it("is reached at 127.0.0.1 if ::1 refuses", function()
      for _, tls in ipairs{ "good", false } do
        local listener = calls.serve{ tls = tls }
        local base_url = ("%s://localhost:%d"):format(tls and "https" or "http", listener.port)
        local client = calls.client({ base_url = base_url }, { ca_file = fault.ca_file })
        for i = 1, 2 do
          local answer = way.call(client)
          assert.same({ "accepted", i > 1 }, { answer.outcome, answer.meta.reused })
        end
        client:close()
        listener:close()
      end
    end)
  end)

  describe(("no_proxy of a %s call"):format(way.name), function()
    it("names hosts that are reached without the proxy", function()
      local refused = fault.refused()
      local function ask(hosts, base_url)
        local options = through(refused, { no_proxy = hosts })
        return calls.brief(calls.once(way, { base_url = base_url or server.base_url }, options))
      end
      local localhost = "https://localhost:" .. server.port
      for _, hosts in ipairs{
        "127.0.0.1", "*", "example.com,127.0.0.1", "example.com, 127.0.0.1",
      } do
        assert.equal("accepted 204", ask(hosts), hosts)
      end
      assert.equal("accepted 204", ask("localhost", localhost))
      assert.equal("accepted 204", ask("LOCALHOST", localhost))
      for _, hosts in ipairs{ "example.com", "localhost", "127.0.0", "27.0.0.1", "" } do
        assert.equal("not_sent proxy", ask(hosts), hosts)
      end
      assert.equal("not_sent proxy", ask("ocalhost", localhost))
      refused:close()
    end)

    it("makes kind connect, not proxy, of hosts that it names", function()
      local proxy, refused, closed = serve(KINDS[1]), fault.refused(), fault.refused()
      local cut = fault.serve{ tls = "good", script = "conn:raw(1) conn:cut()" }
      for port, kind in pairs{ [refused.port] = "connect", [cut.port] = "tls" } do
        local origin = { base_url = "https://127.0.0.1:" .. port }
        local answer = calls.once(way, origin, through(proxy, { no_proxy = "127.0.0.1" }))
        assert.equal("not_sent " .. kind, calls.brief(answer))
        assert.is_nil(answer.message:find("proxy", 1, true))
        answer = calls.once(way, origin, through(closed, { no_proxy = "example.com" }))
        assert.equal("not_sent proxy", calls.brief(answer))
      end
      cut:close()
      closed:close()
      refused:close()
      proxy:close()
    end)

    it("overrides the client's, and shares no connection with it", function()
      local proxy = serve(KINDS[1])
      local client = calls.client(server, through(proxy, { no_proxy = "127.0.0.1" }))
      assert.equal("accepted", way.call(client).outcome)
      assert.equal(0, proxy:record().connections)
      assert.equal("accepted", way.call(client, { no_proxy = "example.com" }).outcome)
      assert.equal(1, proxy:record().connections)
      assert.is_true(way.call(client).meta.reused)
      assert.is_true(way.call(client, { no_proxy = "example.com" }).meta.reused)
      assert.equal(1, proxy:record().connections)
      client:close()
      proxy:close()
    end)
  end)
end

describe("the proxy variables of the environment:", function()
  local CHILD = [[
    local calls = require "spec.support.calls"
    for _, way in ipairs(calls.WAYS) do
      print(calls.brief(calls.once(way, { base_url = %q }, { ca_file = %q, %s })))
    end
  ]]

  local function run(environment, options, base_url)
    local source = CHILD:format(base_url or server.base_url, fault.ca_file, options or "")
    local first, second = helper.child(source, environment):match("^(.*)\n(.*)$")
    assert.equal(first, second)
    return first
  end

  local DIRECT, REFUSED = "accepted 204", "not_sent proxy"
  local refused, proxied

  setup(function()
    refused = fault.refused()
    proxied = "http://u:" .. PASSWORD .. "@127.0.0.1:" .. refused.port
  end)

  teardown(function() refused:close() end)

  it("https_proxy is overridden by proxy = ''", function()
    for _, name in ipairs{ "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" } do
      assert.equal(REFUSED, run{ [name] = proxied })
      assert.equal(DIRECT, run({ [name] = proxied }, "proxy = ''"))
    end
  end)

  it("no_proxy applies to the option proxy too", function()
    local option = ("proxy = %q"):format(proxied)
    assert.equal(REFUSED, run({}, option))
    assert.equal(DIRECT, run({ no_proxy = "127.0.0.1" }, option))
    assert.equal(DIRECT, run({ NO_PROXY = "*" }, option))
  end)

  it("no_proxy is overridden by the option no_proxy", function()
    local environment = { https_proxy = proxied, no_proxy = "127.0.0.1" }
    assert.equal(DIRECT, run(environment))
    assert.equal(REFUSED, run(environment, "no_proxy = 'example.com'"))
    assert.equal(REFUSED, run(environment, "no_proxy = ''"))
    environment.no_proxy = "example.com"
    assert.equal(DIRECT, run(environment, "no_proxy = '127.0.0.1'"))
  end)

  it("proxies are not used for http", function()
    local environment = {
      http_proxy = proxied, HTTP_PROXY = proxied, https_proxy = proxied,
      all_proxy = proxied, ALL_PROXY = proxied,
    }
    assert.equal(DIRECT, run(environment, nil, plain.base_url))
    assert.equal(DIRECT, run(environment, nil, "http://localhost:" .. plain.port))
  end)

  it("ALL_PROXY can be a SOCKS proxy", function()
    local proxy = serve(KINDS[6])
    assert.equal(DIRECT, run{ ALL_PROXY = url(KINDS[6], proxy) })
    assert.equal(2, proxy:record().connections)
    proxy:close()
  end)
end)
