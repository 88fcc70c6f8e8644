-- Trust anchors: those that are given replace the system's with every libcurl, and clients with
-- different ones share no connections and no TLS sessions.
local anchors = require "spec.support.anchors"
local calls = require "spec.support.calls"
local fault = require "spec.support.fault"

teardown(fault.stop)

local brief, ACCEPTED, REFUSED = calls.brief, "accepted 204", "not_sent tls"

local function serve(version, script)
  return calls.serve{ tls_version = version, script = script }
end

-- What is printed in each of the two ways.
local function both(what) return what .. "\n" .. what end

describe("with the server's authority as the system's,", function()
  -- One line for each way that the options are given.
  local CHILD = [[
    local calls = require "spec.support.calls"
    local base_url, options = %q, { %s }
    for _, way in ipairs(calls.WAYS) do
      print(calls.brief(calls.once(way, { base_url = base_url }, options)))
    end
  ]]

  local function run(options, environment)
    local server = serve()
    local source = CHILD:format(server.base_url, options)
    local said, why = anchors.run(fault.ca_file, fault.ca_path, source, environment)
    server:close()
    if not said then pending(why) end
    return said
  end

  it("a client without ca_file and ca_path trusts the server", function()
    assert.equal(both(ACCEPTED), run(""))
  end)

  it("a client with another ca_file refuses the server", function()
    fault.start()
    assert.equal(both(REFUSED), run(("ca_file = %q"):format(fault.other_ca_file)))
  end)

  it("a client with another ca_path refuses the server", function()
    fault.start()
    assert.equal(both(REFUSED), run(("ca_path = %q"):format(fault.other_ca_path)))
  end)

  it("a client with another ca_file and ca_path refuses the server", function()
    fault.start()
    local options = ("ca_file = %q, ca_path = %q"):format(fault.other_ca_file, fault.other_ca_path)
    assert.equal(both(REFUSED), run(options))
  end)

  it("a client with another ca_file refuses the server despite SSL_CERT_FILE", function()
    fault.start()
    local environment = { SSL_CERT_FILE = fault.ca_file, SSL_CERT_DIR = fault.ca_path }
    assert.equal(both(REFUSED), run(("ca_file = %q"):format(fault.other_ca_file), environment))
  end)

  it("a client with another CRUX_CA_FILE refuses the server", function()
    fault.start()
    assert.equal(both(REFUSED), run("", { CRUX_CA_FILE = fault.other_ca_file }))
  end)

  it("a client with another ca_file refuses it after one without has connected", function()
    local server = serve()
    local said, why = anchors.run(fault.ca_file, fault.ca_path, ([[
      local calls = require "spec.support.calls"
      local server = { base_url = %q }
      for _, way in ipairs(calls.WAYS) do
        for _, ca_file in ipairs{ false, %q, false } do
          print(calls.brief(calls.once(way, server, { ca_file = ca_file or nil })))
        end
      end
    ]]):format(server.base_url, fault.other_ca_file))
    server:close()
    if not said then pending(why) end
    assert.equal(both(table.concat({ ACCEPTED, REFUSED, ACCEPTED }, "\n")), said)
  end)
end)

describe("with another authority as the system's,", function()
  it("a client with the server's in ca_file or ca_path trusts the server", function()
    local server = serve()
    local said, why = anchors.run(fault.other_ca_file, fault.other_ca_path, ([[
      local calls = require "spec.support.calls"
      local server, ca_file, ca_path = { base_url = %q }, %q, %q
      for _, way in ipairs(calls.WAYS) do
        for _, options in ipairs{ {}, { ca_file = ca_file }, { ca_path = ca_path } } do
          print(calls.brief(calls.once(way, server, options)))
        end
      end
    ]]):format(server.base_url, fault.ca_file, fault.ca_path))
    server:close()
    if not said then pending(why) end
    assert.equal(both(table.concat({ REFUSED, ACCEPTED, ACCEPTED }, "\n")), said)
  end)
end)

for _, way in ipairs(calls.WAYS) do
  describe("the trust anchors of a " .. way.name .. " call", function()
    it("are those of ca_file and of ca_path together", function()
      local server = serve()
      for ca_file, ca_path in pairs{
        [fault.other_ca_file] = fault.ca_path, [fault.ca_file] = fault.other_ca_path,
      } do
        local options = { ca_file = ca_file, ca_path = ca_path }
        assert.equal(ACCEPTED, brief(calls.once(way, server, options)))
      end
      server:close()
    end)

    for _, version in ipairs{ "1.2", "1.3" } do
      for _, closing in ipairs{ false, true } do
        -- An idle connection could be shared; a closed one leaves a session that could be resumed.
        local left = closing and "session" or "connection"

        it(("keep it off a %s of a client with others, TLS %s"):format(left, version), function()
          local server = serve(version, closing and calls.CLOSING or nil)
          local trusting = calls.client(server, { ca_file = fault.ca_file })
          local strange = calls.client(server, { ca_file = fault.other_ca_file })
          assert.equal(ACCEPTED, brief(way.call(trusting)))
          assert.equal(ACCEPTED, brief(way.call(trusting)))
          local answer = way.call(strange)
          assert.equal(REFUSED, brief(answer))
          assert.is_false(answer.retryable)
          assert.equal(ACCEPTED, brief(way.call(trusting)))
          local record = server:record()
          assert.equal(3, record.requests)
          assert.equal(closing and 4 or 2, record.connections)
          trusting:close()
          strange:close()
          server:close()
        end)

        local title = "in files whose names differ in case share no %s, TLS %s"
        it(title:format(left, version), function()
          calls.with_directory(function(dir)
            fault.start()
            calls.copy(fault.ca_file, dir .. "/anchor.pem")
            calls.copy(fault.other_ca_file, dir .. "/ANCHOR.pem")
            os.execute(("cp -r %s %s/path"):format(fault.ca_path, dir))
            os.execute(("cp -r %s %s/PATH"):format(fault.other_ca_path, dir))
            for name, value in pairs{ ca_file = "anchor.pem", ca_path = "path" } do
              local server = serve(version, closing and calls.CLOSING or nil)
              local client = calls.client(server)
              local right = { [name] = dir .. "/" .. value }
              local wrong = { [name] = dir .. "/" .. (value:gsub("^%l+", string.upper)) }
              assert.equal(ACCEPTED, brief(way.call(client, right)))
              assert.equal(REFUSED, brief(way.call(client, wrong)), name)
              assert.equal(ACCEPTED, brief(way.call(client, right)))
              assert.equal(REFUSED, brief(way.call(client, wrong)), name)
              assert.equal(2, server:record().requests)
              client:close()
              server:close()
            end
          end)
        end)
      end
    end

    it("can be wrong first and right afterwards", function()
      for _, version in ipairs{ "1.2", "1.3" } do
        local server = serve(version)
        local client = calls.client(server, { ca_file = fault.other_ca_file })
        assert.equal(REFUSED, brief(way.call(client)))
        assert.equal(ACCEPTED, brief(way.call(client, { ca_file = fault.ca_file })))
        assert.equal(REFUSED, brief(way.call(client)))
        client:close()
        server:close()
      end
    end)

    for _, identity in ipairs{ "self_signed", "expired", "wrong_name" } do
      it("do not accept a certificate that is " .. identity:gsub("_", " "), function()
        local server = calls.serve{ tls = identity }
        local answer = calls.once(way, server, { ca_file = fault.ca_file, retries = 2 })
        assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
        local record = server:record()
        assert.same({ 1, 0 }, { record.connections, record.requests })
        server:close()
      end)
    end
  end)
end
