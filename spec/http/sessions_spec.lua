-- What connections to one server share: its name is resolved once, and all but the first connection
-- resume the first one's TLS session.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

teardown(fault.stop)

local NAME = "crux-origin.test"

-- How many of the connections have resumed a session, and how many have not.
local function count(record)
  local resumed, full = 0, 0
  for _, conn in ipairs(record.conns) do
    if conn.resumed then resumed = resumed + 1 else full = full + 1 end
  end
  return resumed, full
end

for _, way in ipairs(calls.WAYS) do
  for _, version in ipairs{ "1.2", "1.3" } do
    describe(("TLS %s sessions of %s calls"):format(way.name, version), function()
      local function serve(more)
        local options = { tls_version = version, script = calls.CLOSING }
        for name, value in pairs(more or {}) do options[name] = value end
        return calls.serve(options)
      end

      it("are not used if the server has none", function()
        local server = serve{ tickets = 0 }
        local client = calls.client(server, { ca_file = fault.ca_file })
        for _ = 1, 3 do assert.equal("accepted", way.call(client).outcome) end
        assert.same({ 0, 3 }, { count(server:record()) })
        client:close()
        server:close()
      end)

      if not calls.resumes(version) then return end

      it("are resumed by the next connection", function()
        local server = serve()
        local client = calls.client(server, { ca_file = fault.ca_file })
        for _ = 1, 5 do
          local answer = way.call(client)
          assert.same({ "accepted", false }, { answer.outcome, answer.meta.reused })
        end
        assert.same({ 4, 1 }, { count(server:record()) })
        client:close()
        server:close()
      end)

      -- One that ends without close_notify may take its session with it, in TLS 1.2: OpenSSL's
      -- choice.
      it("are resumed after the server closed an idle connection", function()
        local server = serve{ script = [[
          conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:sleep(0.05) conn:fin()
          conn:tell("left", true)
        ]] }
        local client = calls.client(server, { ca_file = fault.ca_file })
        for i = 1, 3 do
          assert.equal("accepted", way.call(client).outcome)
          repeat core.sleep(0.005) until server:record().conns[i].left
        end
        assert.same({ 2, 1 }, { count(server:record()) })
        client:close()
        server:close()
      end)
    end)
  end
end

describe("a host name", function()
  local resolver

  setup(function() resolver = forks.compile("slow_resolver.c") end)

  teardown(function() os.remove(resolver) end)

  -- What a child prints that has this resolver, and how many names it has looked up.
  local function run(source, seconds)
    local log = os.tmpname()
    local said = helper.child(source, {
      LD_PRELOAD = resolver, SLOW_RESOLVER = seconds or "0", RESOLVER_LOG = log,
      ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0",
    }, "timeout -s KILL 120")
    local names = {}
    for line in io.lines(log) do names[#names + 1] = line end
    os.remove(log)
    return said, names
  end

  -- All have their answer only once all have asked, so that each needs a connection of its own.
  local TOGETHER = [[
    while conn:request() do
      shared.count = (shared.count or 0) + 1
      while shared.count < %d do conn:sleep(0.01) end
      conn:write(shared.answer)
    end
  ]]

  local MANY = [[
    local calls = require "spec.support.calls"
    local count, base_url, ca_file = %d, %q, %q
    local client = calls.client({ base_url = base_url },
      { ca_file = ca_file, max_connections = count })
    local pendings, accepted = {}, 0
    for i = 1, count do pendings[i] = client:submit("cancel_order", calls.order()) end
    for _, pending in ipairs(pendings) do
      local _, result, err = pending:wait()
      if result then accepted = accepted + 1 else print(err) end
    end
    print(accepted)
    client:close()
  ]]

  -- How many of so many connections, made by as many calls at once, have resumed a session.
  local function resumed_of(calls_at_once, version)
    local server = calls.serve{
      tls_names = { NAME }, tls_version = version, script = TOGETHER:format(calls_at_once),
    }
    local base_url = ("https://%s:%d"):format(NAME, server.port)
    local said, names = run(MANY:format(calls_at_once, base_url, fault.ca_file), "0.1")
    assert.equal(tostring(calls_at_once), said)
    assert.same({ NAME }, names)
    local record = server:record()
    assert.same({ calls_at_once, calls_at_once }, { record.connections, record.requests })
    server:close()
    return (count(record))
  end

  it("is resolved once for 32 calls, of which 31 resume a session, TLS 1.2", function()
    assert.equal(31, resumed_of(32, "1.2"))
  end)

  -- TLS 1.3 has tickets, of which OpenSSL's server sends two after a full handshake, one by one,
  -- and each is good for one connection. libcurl keeps two, and takes one out for each handshake
  -- that begins; below 8.12 it keeps one, and OpenSSL takes it for used up once the first handshake
  -- with it is complete. So of 32 connections that begin together two resume a session; below 8.12
  -- all may, or only one. Nobody waits for a ticket that is long in coming: hence the tries.
  local function most_resumed(calls_at_once, enough)
    local most = 0
    for _ = 1, 5 do
      if most < enough then most = math.max(most, resumed_of(calls_at_once, "1.3")) end
    end
    return most
  end

  it("is resolved once for 3 calls, of which 2 resume a session, TLS 1.3", function()
    assert.equal(calls.resumes "1.3" and 2 or 0, most_resumed(3, 2))
  end)

  it("is resolved once for 32 calls, of which some resume a session, TLS 1.3", function()
    local enough = libcurl.here() >= libcurl.TICKETS_ARE_TAKEN and 2 or 1
    local most = most_resumed(32, enough)
    if not calls.resumes "1.3" then assert.equal(0, most)
    else assert.is_true(most >= enough, most) end
  end)

  for i, way in ipairs(calls.WAYS) do
    it("is resolved once for successive connections of " .. way.name .. " calls", function()
      local server = calls.serve{ tls_names = { NAME }, script = calls.CLOSING }
      local said, names = run(([[
        local calls = require "spec.support.calls"
        local way, client = calls.WAYS[%d], calls.client({ base_url = %q }, { ca_file = %q })
        for _ = 1, 4 do print(way.call(client).outcome) end
      ]]):format(i, ("https://%s:%d"):format(NAME, server.port), fault.ca_file))
      assert.equal(("accepted\n"):rep(4), said .. "\n")
      assert.same({ NAME }, names)
      assert.equal(4, server:record().connections)
      server:close()
    end)

    it("is resolved again after its address refused a " .. way.name .. " call", function()
      local refused = fault.refused()
      local said, names = run(([[
        local calls = require "spec.support.calls"
        local way, client = calls.WAYS[%d], calls.client({ base_url = %q }, { ca_file = %q })
        for _ = 1, 3 do print(way.call(client).kind) end
      ]]):format(i, ("https://%s:%d"):format(NAME, refused.port), fault.ca_file))
      assert.equal("connect\nconnect\nconnect", said)
      assert.same({ NAME, NAME, NAME }, names)
      refused:close()
    end)
  end
end)
