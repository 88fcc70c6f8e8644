-- How long connections are kept: idle_timeout, connection_lifetime and the server's Keep-Alive; and
-- that connections which the server has closed are closed here too.
local calls = require "spec.support.calls"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

teardown(fault.stop)

-- Waits until a condition holds, and returns whether it did. Makes no call meanwhile: the worker
-- acts on its own.
local function comes_true(fn)
  local limit = core.now() + 10
  while core.now() < limit do
    if fn() then return true end
    core.sleep(0.02)
  end
  return false
end

-- How the client has ended the only connection, or nil.
local function ended(server)
  local record = server:record()
  assert.equal(1, record.connections)
  return record.conns[1].eof
end

-- Half-closes after the response.
local LEAVING = [[
  conn:request() conn:write(shared.answer)
  conn:half() conn:tell("left", true)
  conn:eof() conn:hold()
]]

for _, tls in ipairs{ false, "good" } do
  for _, way in ipairs(calls.WAYS) do
    describe(("a %s call over %s:"):format(way.name, tls and "TLS" or "TCP"), function()
      it("idle_timeout = 0 uses a new connection for every call", function()
        local server = calls.serve{ tls = tls }
        local client = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 0 })
        for _ = 1, 4 do
          local answer = way.call(client)
          assert.same({ "accepted", false }, { answer.outcome, answer.meta.reused })
        end
        assert.equal(4, server:record().connections)
        assert.is_true(comes_true(function()
          for _, conn in ipairs(server:record().conns) do
            if not conn.eof then return false end
          end
          return true
        end))
        client:close()
        server:close()
      end)

      it("a connection is reused before idle_timeout and not after it", function()
        local server = calls.serve{ tls = tls }
        local long = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 100 })
        local short = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 0.1 })
        assert.equal("accepted", way.call(long).outcome)
        core.sleep(0.2)
        assert.is_true(way.call(long).meta.reused)
        assert.equal("accepted", way.call(short).outcome)
        core.sleep(0.2)
        assert.is_false(way.call(short).meta.reused)
        long:close()
        short:close()
        server:close()
      end)

      it("the call's own idle_timeout overrides the client's", function()
        local server = calls.serve{ tls = tls }
        local client = calls.client(server, { ca_file = fault.ca_file })
        assert.is_false(way.call(client).meta.reused)
        assert.is_false(way.call(client, { idle_timeout = 0 }).meta.reused)
        client:close()
        server:close()
      end)

      it("a busy connection is not reused after connection_lifetime", function()
        local server = calls.serve{ tls = tls }
        local client = calls.client(server, { ca_file = fault.ca_file, connection_lifetime = 1.5 })
        local begun = core.now()
        local record
        repeat
          assert.equal("accepted", way.call(client).outcome)
          core.sleep(0.02)
          record = server:record()
        until record.connections >= 2 or core.now() > begun + 20
        assert.is_true(record.connections >= 2, record.connections)
        -- some calls did reuse a connection
        assert.is_true(record.connections < record.requests)
        client:close()
        server:close()
      end)

      it("Keep-Alive: timeout shortens idle_timeout to one second less", function()
        local function serve(seconds)
          local line = "Keep-Alive: timeout=" .. seconds
          return calls.serve{ tls = tls, shared = { answer = helper.response(204, nil, { line }) } }
        end
        for server, reused in pairs{ [serve(90)] = true, [serve(1)] = false } do
          local client = calls.client(server, { ca_file = fault.ca_file })
          assert.equal("accepted", way.call(client).outcome)
          assert.equal(reused, way.call(client).meta.reused)
          client:close()
          server:close()
        end
      end)
    end)
  end

  describe("an idle connection over " .. (tls and "TLS" or "TCP"), function()
    local function call(client) return helper.call(client.cancel_order, client, calls.order()) end

    it("is closed by the worker as soon as the server has closed it", function()
      local server = calls.serve{ tls = tls, script = LEAVING }
      local client = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 600 })
      local pending = assert(client:submit("cancel_order", calls.order()))
      assert.is_true((pending:wait()))
      assert.is_true(comes_true(function() return ended(server) end))
      client:close()
      server:close()
    end)

    it("is closed by the worker after idle_timeout", function()
      local server = calls.serve{ tls = tls }
      local client = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 0.2 })
      local pending = assert(client:submit("cancel_order", calls.order()))
      assert.is_true((pending:wait()))
      assert.is_true(comes_true(function() return ended(server) end))
      client:close()
      server:close()
    end)

    -- The connection of a blocking call is closed by the next call of crux on that thread.
    for what, act in pairs{
      ["at the next call of another client"] = function()
        local other = calls.serve{ tls = false }
        local client = calls.client(other)
        call(client)
        client:close()
        other:close()
      end,
      ["when any client is closed"] = function() assert(crux.new{ token = "t" }):close() end,
      ["when any client is collected"] = function()
        assert(crux.new{ token = "t" })
        collectgarbage()
        collectgarbage()
      end,
      ["when its own client is closed"] = function(client) client:close() end,
    } do
      it("of a blocking call that the server has closed is closed " .. what, function()
        local server = calls.serve{ tls = tls, script = LEAVING }
        local client = calls.client(server, { ca_file = fault.ca_file, idle_timeout = 600 })
        call(client)
        assert.is_true(comes_true(function() return server:record().conns[1].left end))
        assert.is_nil(server:record().errors[1])
        act(client)
        assert.is_true(comes_true(function() return ended(server) end))
        client:close()
        server:close()
      end)
    end
  end)
end
