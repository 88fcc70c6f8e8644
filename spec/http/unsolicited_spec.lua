-- Bytes that a server sends before it has the request are never the response. On a new connection
-- they end the attempt as not sent, as does a close; an idle connection is replaced by another.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local patient = require "spec.support.patient"

local UNSOLICITED = {
  ["200"] = helper.response(200, "{}"),
  ["429 that asks to try again"] = helper.response(429, "", { "Retry-After: 0" }),
  ["100"] = "HTTP/1.1 100 Continue\r\n\r\n",
  ["empty line"] = "\r\n",
}

-- Bytes written together with the end of a handshake are sent in one segment with it.
local SPEAKS_AFTER_HANDSHAKE =
  "conn:cork() conn:handshake() conn:write(shared.unsolicited) conn:uncork() conn:eof()"
local SPEAKS_FIRST = "conn:write(shared.unsolicited) conn:eof()"

teardown(function()
  patient.stop()
  fault.stop()
end)

-- Options of a listener. `kind` is plain or a TLS version; `tickets` is 0 for no session tickets.
local function options(kind, tickets, script, unsolicited)
  return {
    tls = kind ~= "plain" and "good" or nil, tls_version = kind:match("[%d.]+$"), tickets = tickets,
    script = script, shared = { unsolicited = unsolicited },
  }
end

-- The same as source text, for the scripts of `patient`.
local function listener(kind, tickets, script, unsolicited)
  local tls = ""
  if kind ~= "plain" then
    tls = ("tls = 'good', tls_version = %q, tickets = %s,"):format(kind:match("[%d.]+$"),
      tostring(tickets))
  end
  return ("fault.serve{ %s script = %q, shared = { unsolicited = %q } }"):format(tls, script,
    unsolicited or "")
end

local VERSIONS = { "TLS 1.2", "TLS 1.3" }

local function each_tls(body)
  for _, version in ipairs(VERSIONS) do
    body(version, nil, version .. " with session tickets")
    body(version, 0, version .. " without session tickets")
  end
end

local function describe_fresh(way)
  -- The client cannot have sent anything before it has the server's last message.
  it("in one segment with the end of a TLS 1.2 handshake are refused", function()
    for name, text in pairs(UNSOLICITED) do
      for _, tickets in ipairs{ 0, 2 } do
        local server = fault.serve(options("TLS 1.2", tickets, SPEAKS_AFTER_HANDSHAKE, text))
        local answer = calls.once(way, server, { ca_file = fault.ca_file, retries = 2 })
        assert.same({ "not_sent", "protocol" }, { answer.outcome, answer.kind }, name)
        assert.equal(1, answer.meta.attempts, name)
        local record = server:audit{ answer }
        assert.same({ 1, 0 }, { record.connections, record.bytes }, name)
        server:close()
      end
    end
  end)

  local function is_no_answer(step, kind, tickets)
    local script, listeners = step == "connect" and SPEAKS_FIRST or SPEAKS_AFTER_HANDSHAKE, {}
    for _, text in pairs(UNSOLICITED) do
      listeners[#listeners + 1] = listener(kind, tickets, script, text)
    end
    local said = patient.run(step, way.name, ([[
      for _, server in ipairs{ %s } do
        call(server, { retries = 2 })
        seen(server)
      end
    ]]):format(table.concat(listeners, ", ")))
    assert.equal(("not_sent protocol 1 0\n1 none\n"):rep(#listeners), said)
  end

  it("on a new TCP connection are refused", function() is_no_answer("connect", "plain") end)

  each_tls(function(version, tickets, title)
    it(("on a new connection, %s, are refused"):format(title), function()
      is_no_answer("handshake", version, tickets)
    end)
  end)

  for _, version in ipairs(VERSIONS) do
    it(("on a new connection that resumes a session, %s, are refused"):format(version), function()
      local usual = helper.response(204, nil, { "Connection: close" })
      local script = "if n == 1 then conn:request() conn:write(%q) return end %s"
      script = script:format(usual, SPEAKS_AFTER_HANDSHAKE)
      local listeners = {}
      for _, text in pairs(UNSOLICITED) do
        listeners[#listeners + 1] = listener(version, nil, script, text)
      end
      local said = patient.run("handshake", way.name, ([[
        for _, server in ipairs{ %s } do
          call(server)
          call(server, { retries = 2 })
          print(seen(server).conns[2].resumed)
        end
      ]]):format(table.concat(listeners, ", ")))
      local expected = "accepted 204 1 1\nnot_sent protocol 1 0\n2 some\n%s\n"
      local resumes = calls.resumes(version:match("[%d.]+$"))
      assert.equal(expected:format(tostring(resumes)):rep(#listeners), said)
    end)
  end

  -- The order is not certain here: the server may be late. The request is sent at most once.
  it("from a server that sends first get at most one request", function()
    for _, kind in ipairs{ "plain", "TLS 1.2", "TLS 1.3" } do
      for _, text in pairs(UNSOLICITED) do
        local server = fault.serve(options(kind, nil, SPEAKS_FIRST, text))
        local answer = calls.once(way, server, { ca_file = fault.ca_file, timeout = 2 })
        assert.equal(1, answer.meta.attempts)
        assert.equal(1, server:audit{ answer }.connections)
        server:close()
      end
    end
  end)
end

local function describe_kept(way)
  local function is_not_used(kind, tickets)
    for name, text in pairs(UNSOLICITED) do
      for _, pause in ipairs{ "", "conn:uncork() conn:sleep(0.02)" } do
        local server = fault.serve(options(kind, tickets, ([[
          conn:request()
          conn:cork() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
          if n == 1 then %s conn:write(shared.unsolicited) end
          conn:uncork() conn:tell("written", true) conn:eof()
        ]]):format(pause), text))
        local client = calls.client(server, { ca_file = fault.ca_file, retries = 2 })
        local first = way.call(client)
        assert.equal(204, first.status, name)
        repeat core.sleep(0.005) until server:record().conns[1].written
        local second = way.call(client)
        assert.equal(204, second.status, name .. ": " .. tostring(second))
        assert.same({ false, 1 }, { second.meta.reused, second.meta.attempts }, name)
        local record = server:audit{ first, second }
        assert.same({ 2, "fin" }, { record.connections, record.conns[1].eof }, name)
        client:close()
        server:close()
      end
    end
  end

  it("on an idle TCP connection make the call use another", function() is_not_used("plain") end)

  each_tls(function(version, tickets, title)
    it(("on an idle connection, %s, make the call use another"):format(title), function()
      is_not_used(version, tickets)
    end)
  end)
end

-- A TLS library may return after each of its own messages, and leave later bytes unread.
local function describe_behind_messages(way)
  it("on an idle connection after KeyUpdates make the call use another", function()
    for _, count in ipairs{ 1, 3 } do
      local server = fault.serve(options("TLS 1.3", nil, ([[
        conn:request()
        conn:write("HTTP/1.1 204 No Content\r\n\r\n")
        if n == 1 then
          conn:sleep(0.05)
          conn:cork()
          for _ = 1, %d do conn:key_update(false) end
          conn:write(shared.unsolicited) conn:uncork() conn:tell("written", true)
        end
        conn:eof()
      ]]):format(count), UNSOLICITED["429 that asks to try again"]))
      local client = calls.client(server, { ca_file = fault.ca_file })
      local first = way.call(client)
      repeat core.sleep(0.005) until server:record().conns[1].written
      local second = way.call(client)
      assert.same({ 204, false, 1 }, { second.status, second.meta.reused, second.meta.attempts })
      assert.equal(2, server:audit{ first, second }.connections)
      client:close()
      server:close()
    end
  end)
end

-- Bytes that were not acknowledged when the client counted them may be acknowledged when the client
-- reads. On an idle connection the server's kernel delays acknowledgements.
local function describe_late(way)
  local KEPT = [[
    for _ = 1, 4 do
      conn:request() conn:sleep(0.01) conn:write("HTTP/1.1 204 No Content\r\n\r\n")
    end
    conn:read(10000) conn:sleep(0.01)
    conn:write("HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n") conn:eof()
  ]]

  for _, kind in ipairs{ "plain", "TLS 1.2", "TLS 1.3" } do
    it(("is accepted just after the client has counted unacknowledged bytes, %s"):format(
      kind == "plain" and "TCP" or kind), function()
      local said = patient.run("count", way.name, ([[
        local skus = {}
        for i = 1, 1000 do skus[i] = { supplier_uuid = require "spec.helper".SUPPLIER } end
        for _ = 1, 5 do -- a system may acknowledge at once now and then
          local server = %s
          for _ = 1, 4 do call(server) end
          call(server, { skus = skus })
          seen(server)
        end
      ]]):format(listener(kind, nil, KEPT)))
      local expected = ("accepted 204 1 1\n"):rep(4) .. "rejected http 1 1\n1 some\n"
      assert.equal(expected:rep(5), said)
    end)
  end
end

local function describe_closed(way)
  -- `kinds`: the kinds of error that each way of closing may give.
  local function is_not_sent_to(step, kind, tickets, kinds)
    local format, cases, listeners = "conn:cork() conn:handshake() conn:%s()", {}, {}
    if step == "connect" then format = "conn:%s()" end
    for how in pairs(kinds) do
      for retries = 0, 1 do
        cases[#cases + 1] = { how = how, retries = retries }
        local made = listener(kind, tickets, format:format(how))
        listeners[#cases] = ("{ %s, %d }"):format(made, retries)
      end
    end
    local said = patient.run(step, way.name, ([[
      for _, case in ipairs{ %s } do
        call(case[1], { retries = case[2] })
        seen(case[1])
      end
    ]]):format(table.concat(listeners, ", ")))
    local found = 0
    for error, attempts, connections in said:gmatch("not_sent (%a+) (%d) 0\n(%d) none\n") do
      found = found + 1
      local case = cases[found]
      local context = case.how .. ": " .. said
      assert.is_true(kinds[case.how][error], context)
      -- tls is not retryable
      assert.equal(error == "tls" and 1 or case.retries + 1, tonumber(attempts), context)
      assert.equal(attempts, connections, context)
    end
    assert.equal(#cases, found, said)
  end

  -- A reset may arrive before the connection is found to be established.
  it("at once gives not_sent, with one connection for each attempt", function()
    is_not_sent_to("connect", "plain", nil,
      { fin = { network = true }, rst = { network = true, connect = true } })
  end)

  each_tls(function(version, tickets, title)
    -- A close without close_notify may be a reaction to the client's part of the handshake.
    local name = "after a handshake, %s, gives not_sent, with one connection for each attempt"
    it(name:format(title), function()
      is_not_sent_to("handshake", version, tickets, {
        fin = { network = true }, cut = { network = true, tls = true },
        rst = { network = true, tls = true },
      })
    end)
  end)

  it("in one segment with the end of a TLS 1.2 handshake gives not_sent",
    function()
      for retries = 0, 1 do
        local server = fault.serve(options("TLS 1.2", 0, "conn:cork() conn:handshake() conn:fin()"))
        local answer = calls.once(way, server, { ca_file = fault.ca_file, retries = retries })
        assert.same({ "not_sent", "network" }, { answer.outcome, answer.kind })
        assert.equal(retries + 1, answer.meta.attempts)
        local record = server:audit{ answer }
        assert.same({ retries + 1, 0 }, { record.connections, record.bytes })
        server:close()
      end
    end)
end

for _, way in ipairs(calls.WAYS) do
  describe(("unsolicited bytes before a %s call"):format(way.name), function()
    describe_fresh(way)
    describe_kept(way)
    describe_behind_messages(way)
  end)
  describe(("the response to a %s call"):format(way.name), function() describe_late(way) end)
  describe(("for a %s call, a new connection that the server closes"):format(way.name), function()
    describe_closed(way)
  end)
end
