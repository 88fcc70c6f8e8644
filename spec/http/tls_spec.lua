-- TLS: which versions are used, the outcome of a broken handshake, and messages that a server may
-- send after the handshake: renegotiation, KeyUpdate, certificate requests.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local proxies = require "spec.support.proxies"

teardown(fault.stop)

local OK = helper.response(204)

local function serve(version, script, more)
  local options = { tls_version = version, script = script }
  for name, value in pairs(more or {}) do options[name] = value end
  return calls.serve(options)
end

-- A listener that forwards `shared.cut` bytes to a server.
local function serve_between(server, how)
  return fault.serve{ script = proxies.BETWEEN, shared = { port = server.port, how = how } }
end

local function url(listener, host)
  return ("https://%s:%d"):format(host or "127.0.0.1", listener.port)
end

local function trusting(more)
  local made = { ca_file = fault.ca_file }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

-- Asserts that no script has raised an error.
local function undisturbed(record) assert.same({}, record.errors) end

describe("a server that speaks no TLS but 1.1", function()
  -- An administrator may have allowed old versions for another program, in OpenSSL's configuration
  -- file.
  local LAX = [[
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
]]

  local CHILD = [[
    local calls = require "spec.support.calls"
    for _, way in ipairs(calls.WAYS) do
      print(calls.brief(calls.once(way, { base_url = %q }, { ca_file = %q })))
    end
  ]]

  local function run(version, environment)
    local server = serve(version, helper.ANSWER)
    local said = helper.child(CHILD:format(server.base_url, fault.ca_file), environment)
    local record = server:record()
    server:close()
    return said, record
  end

  it("is refused with kind tls", function()
    local said, record = run("1.1")
    assert.equal("not_sent tls\nnot_sent tls", said)
    assert.same({ 2, 0 }, { record.connections, record.requests })
  end)

  it("is refused even if the system's OpenSSL configuration allows it", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local file = assert(io.open(path, "w"))
    file:write(LAX)
    file:close()
    local said, record = run("1.1", { OPENSSL_CONF = path })
    assert.equal("not_sent tls\nnot_sent tls", said)
    assert.same({ 2, 0 }, { record.connections, record.requests })
    -- calls over TLS 1.2 work with that file
    assert.equal("accepted 204\naccepted 204", (run("1.2", { OPENSSL_CONF = path })))
  end)
end)

for _, way in ipairs(calls.WAYS) do
  describe("the TLS version of a " .. way.name .. " call", function()
    for _, version in ipairs{ "1.2", "1.3" } do
      it("is " .. version .. " if the server has no other", function()
        local server = serve(version, helper.ANSWER)
        assert.equal("accepted", calls.once(way, server, trusting()).outcome)
        assert.equal(version, server:record().conns[1].version)
        server:close()
      end)
    end

    it("is the newest that both support", function()
      local server = serve(nil, helper.ANSWER)
      assert.equal("accepted", calls.once(way, server, trusting()).outcome)
      assert.equal("1.3", server:record().conns[1].version)
      server:close()
    end)

    it("goes with the host of base_url as server name", function()
      local server = serve(nil, helper.ANSWER)
      local answer = calls.once(way, server, trusting{ base_url = url(server, "localhost") })
      assert.equal("accepted", answer.outcome)
      assert.equal("localhost", server:record().conns[1].server_name)
      server:close()
    end)
  end)

  describe("a broken handshake of a " .. way.name .. " call", function()
    -- How many bytes the server has sent when the handshake is complete. In TLS 1.3 the client
    -- sends the last message, in TLS 1.2 the server; then the client sends the request.
    local function handshake_length(server, version)
      local between = serve_between(server)
      local answer = calls.once(way, server, trusting{ base_url = url(between) })
      assert.equal("accepted", answer.outcome)
      local before = between:record().conns[1].sent_before
      between:close()
      return before[version == "1.2" and 3 or 2]
    end

    for _, version in ipairs{ "1.2", "1.3" } do
      for _, how in ipairs{ "fin", "rst" } do
        it(("closed by %s at any point is kind tls, TLS %s"):format(how, version), function()
          local server = serve(version, helper.ANSWER)
          local length = handshake_length(server, version)
          assert.is_true(length > 400, length)
          local between = serve_between(server, how)
          local client = calls.client(server, trusting{ base_url = url(between), retries = 5 })
          -- the length of a signature varies by a few bytes
          local cuts, step = { 0, 1, 4, 5, 6, length - 12 }, math.floor(length / 12)
          for cut = step, length - step, step do cuts[#cuts + 1] = cut end
          for _, cut in ipairs(cuts) do
            between:set({ cut = cut }, true)
            local answer = way.call(client)
            assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer), "cut after " .. cut)
            assert.equal(1, between:record().connections, "cut after " .. cut)
          end
          assert.equal(1, server:record().requests)
          client:close()
          between:close()
          server:close()
        end)
      end
    end

    it("before the server has read a byte is kind tls", function()
      for _, script in ipairs{
        "conn:rst()", "conn:cut()", "conn:raw(1) conn:cut()", "conn:raw(1) conn:rst()",
      } do
        local server = serve(nil, script)
        local answer = calls.once(way, server, trusting())
        -- a reset may come so early that there was no connection yet
        if script ~= "conn:rst()" or answer.kind ~= "connect" then
          assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer), script)
        end
        server:close()
      end
    end)

    it("by bytes that are not TLS is kind tls", function()
      for _, bytes in ipairs{
        "HTTP/1.1 400 Bad Request\r\n\r\n", "\21\3\3\0\2\2\40", "\21\3\1\0\2\2\70", ("\0"):rep(8),
        "\22\3\3\255\255",
      } do
        local server = serve(nil, "conn:raw(1) conn:write_raw(shared.bytes) conn:cut()",
          { shared = { bytes = bytes } })
        local answer = calls.once(way, server, trusting{ retries = 5 })
        assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
        assert.equal(1, server:record().connections)
        server:close()
      end
    end)

    it("without an end fails at connect_timeout", function()
      for _, script in ipairs{
        "conn:hold()", "conn:raw(1) conn:hold()",
        "conn:raw(1) conn:write_raw('\\22\\3') conn:hold()",
      } do
        local server = serve(nil, script)
        local answer = calls.once(way, server, trusting{ connect_timeout = 0.3 })
        assert.same({ "not_sent", "timeout", true, 1 }, calls.facts(answer))
        server:close()
      end
    end)
  end)

  describe("a TLS 1.2 renegotiation during a " .. way.name .. " call", function()
    it("before the response does not prevent the response", function()
      local server = serve("1.2", [[
        while conn:request() do
          conn:hello_request()
          assert(conn:handshaken(), "expected a new handshake")
          conn:write(shared.answer)
        end
      ]])
      local client = calls.client(server, trusting())
      for i = 1, 3 do
        local answer = way.call(client)
        local meta = answer.meta
        assert.same({ "accepted", 1, i > 1 }, { answer.outcome, meta.sends, meta.reused })
      end
      local record = server:record()
      undisturbed(record)
      assert.same({ 1, 3, 3 }, { record.connections, record.requests, record.conns[1].renewed })
      client:close()
      server:close()
    end)

    it("amid the response head and body does not prevent the response", function()
      local server = serve("1.2", [[
        for _, cut in ipairs{ 10, #shared.answer - 3 } do
          conn:request()
          conn:write(shared.answer:sub(1, cut))
          conn:hello_request()
          assert(conn:handshaken(), "expected a new handshake")
          conn:write(shared.answer:sub(cut + 1))
        end
        conn:eof()
      ]], { shared = { answer = helper.response(200, '{"a":12345678}') } })
      local client = calls.client(server, trusting())
      for _ = 1, 2 do
        local answer = way.call(client)
        assert.same({ "accepted", '{"a":12345678}' }, { answer.outcome, answer.raw })
        assert.is_nil(answer.meta.body_error)
      end
      undisturbed(server:record())
      client:close()
      server:close()
    end)

    -- OpenSSL accepts or refuses a response during a handshake that the client has begun; the
    -- request is not sent again.
    it("right before the response gives accepted or unknown, sent once", function()
      local server = serve("1.2", [[
        conn:request()
        conn:hello_request()
        conn:write(shared.answer)
        conn:eof()
      ]])
      local answer = calls.once(way, server, trusting{ retries = 5 })
      if answer.outcome ~= "accepted" then
        assert.equal("unknown", answer.outcome)
        assert.is_true(answer.kind == "tls" or answer.kind == "network", answer.kind)
      end
      assert.same({ 1, 1 }, { answer.meta.attempts, answer.meta.sends })
      assert.equal(1, server:record().requests)
      server:close()
    end)

    it("on an idle connection is not taken for a response", function()
      local server = serve("1.2", [[
        if not conn:request() then return end
        conn:write(shared.answer)
        if n == 1 then conn:sleep(0.1) conn:hello_request() conn:tell("asked", true) end
        while conn:request() do conn:write(shared.answer) end
      ]])
      local client = calls.client(server, trusting())
      assert.equal("accepted", way.call(client).outcome)
      repeat core.sleep(0.005) until server:record().conns[1].asked
      local answer = way.call(client)
      assert.same({ "accepted", 1 }, { answer.outcome, answer.meta.sends })
      assert.equal(2, server:record().requests)
      client:close()
      server:close()
    end)

    it("that is never completed fails at the deadline", function()
      local server = serve("1.2", "conn:request() conn:hello_request() conn:hold()")
      local answer = calls.once(way, server, trusting{ timeout = 2 })
      assert.same({ "unknown", "timeout", 1 }, { answer.outcome, answer.kind, answer.meta.sends })
      server:close()
    end)
  end)

  describe("a TLS 1.3 KeyUpdate during a " .. way.name .. " call", function()
    for _, wanted in ipairs{ false, true } do
      it(wanted and "that requests one in return gets it" or "is accepted", function()
        local server = serve("1.3", [[
          for _, cut in ipairs{ 0, 10, #shared.answer - 3, #shared.answer } do
            conn:request()
            conn:write(shared.answer:sub(1, cut))
            conn:key_update(shared.wanted)
            conn:write(shared.answer:sub(cut + 1))
          end
          conn:eof()
        ]], { shared = { answer = helper.response(200, '{"a":12345678}'), wanted = wanted } })
        local client = calls.client(server, trusting())
        for _ = 1, 4 do
          local answer = way.call(client)
          assert.same({ "accepted", '{"a":12345678}' }, { answer.outcome, answer.raw })
          assert.equal(1, answer.meta.sends)
        end
        local record = server:record()
        undisturbed(record)
        assert.same({ 1, 4 }, { record.connections, record.requests })
        client:close()
        server:close()
      end)
    end

    -- The client cannot write its KeyUpdate until the server reads again.
    it("during a stalled upload does not break the request", function()
      local server = serve("1.3", [[
        conn:read(20)
        conn:sleep(0.2)
        conn:key_update(true)
        conn:sleep(0.2)
        conn:request()
        conn:write(shared.answer)
        conn:request()
        conn:write(shared.answer)
        conn:eof()
      ]], { receive_buffer = 4096 })
      local client = calls.client(server, trusting())
      local big = { skus = { { supplier_uuid = helper.SUPPLIER, sku_id = ("x"):rep(6000000) } } }
      local answer = way.call(client, big)
      assert.same({ "accepted", 1 }, { answer.outcome, answer.meta.sends })
      assert.equal("accepted", way.call(client).outcome)
      local record = server:record()
      undisturbed(record)
      assert.same({ 1, 2 }, { record.connections, record.requests })
      assert.is_truthy(record.conns[1].data:find(("x"):rep(6000000), 1, true))
      client:close()
      server:close()
    end)
  end)

  describe("a post-handshake certificate request during a " .. way.name .. " call", function()
    -- A client without a certificate may continue if it is optional. In TLS 1.3 the server may send
    -- a request only if the client has offered post-handshake authentication.
    local ASKING = [[
      conn:request()
      local asked = conn:request_certificate(shared.required)
      if asked and not conn:handshaken() then return end
      if asked == false then conn:tell("asked", false) end
      conn:write(shared.answer)
      conn:eof()
    ]]

    it("in TLS 1.2 that is optional is ignored without a certificate", function()
      local server = serve("1.2", ASKING)
      assert.equal("accepted", calls.once(way, server, trusting()).outcome)
      assert.equal(1, server:record().requests)
      server:close()
    end)

    it("in TLS 1.2 that is required gives unknown without a certificate", function()
      local server = serve("1.2", ASKING, { shared = { answer = OK, required = true } })
      local answer = calls.once(way, server, trusting{ retries = 5 })
      assert.same({ "unknown", 1, 1 }, { answer.outcome, answer.meta.attempts, answer.meta.sends })
      assert.is_true(answer.kind == "tls" or answer.kind == "network", answer.kind)
      local record = server:record()
      assert.same({ 1, 1 }, { record.connections, record.requests })
      server:close()
    end)

    for _, version in ipairs{ "1.2", "1.3" } do
      it("gets the certificate if there is one, TLS " .. version, function()
        local server = serve(version, ASKING, { shared = { answer = OK, required = true } })
        local one = fault.clients.one
        local files = trusting{ cert_file = one.cert_file, key_file = one.key_file }
        local answer = calls.once(way, server, files)
        local record = server:record()
        if record.conns[1].asked == false then
          -- this libcurl does not offer it (before 7.65, and with GnuTLS)
          assert.equal("accepted", answer.outcome)
        else
          assert.same({ "accepted", one.subject }, { answer.outcome, record.conns[1].certificate })
        end
        assert.same({ 1, 1 }, { record.connections, record.requests })
        server:close()
      end)
    end
  end)

  describe("a body without a length in a " .. way.name .. " call over TLS", function()
    for _, version in ipairs{ "1.2", "1.3" } do
      it("is complete with close_notify, TLS " .. version, function()
        local server = serve(version, "conn:request() conn:write(shared.answer) conn:fin()",
          { shared = { answer = 'HTTP/1.1 200 OK\r\n\r\n{"a":1}' } })
        local answer = calls.once(way, server, trusting())
        assert.same({ "accepted", '{"a":1}' }, { answer.outcome, answer.raw })
        assert.same({ a = 1 }, answer.body)
        assert.is_nil(answer.meta.body_error)
        server:close()
      end)

      -- OpenSSL distinguishes truncation from close_notify; Debian's libcurl 7.88.1 does not report
      -- it, so this is not checked there.
      local name = "is truncated without close_notify, which does not change the outcome, TLS "
      it(name .. version, function()
        local OUTCOMES = { [200] = "accepted", [422] = "rejected", [503] = "unknown" }
        for _, how in ipairs{ "cut", "rst" } do
          for status, outcome in pairs(OUTCOMES) do
            local text = ('HTTP/1.1 %d X\r\n\r\n{"a":1}'):format(status)
            local server = serve(version, [[
              conn:request()
              conn:write(shared.answer)
              conn[shared.how](conn)
            ]], { shared = { answer = text, how = how } })
            local answer = calls.once(way, server, trusting())
            -- a reset may overtake what was written before it
            if how == "cut" or answer.status then
              assert.same({ outcome, status }, { answer.outcome, answer.status }, how)
            else
              assert.equal("unknown", answer.outcome)
            end
            assert.equal(1, answer.meta.sends)
            if answer.meta.body_error then assert.is_nil(answer.body) end
            server:close()
          end
        end
      end)
    end

    it("has a body_error if a body with a length is truncated beside it", function()
      local server = serve(nil, "conn:request() conn:write(shared.answer) conn:cut()",
        { shared = { answer = 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"a":1}' } })
      local answer = calls.once(way, server, trusting())
      assert.same({ "accepted", '{"a":1}' }, { answer.outcome, answer.raw })
      assert.is_truthy(answer.meta.body_error)
      server:close()
    end)
  end)
end
