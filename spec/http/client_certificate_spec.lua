-- Client certificates: sent if a server requests one, and the outcome if it is missing: TLS 1.2
-- reports that during the handshake, TLS 1.3 only afterwards. No key ever prompts for a pass
-- phrase.
local calls = require "spec.support.calls"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local VERSIONS = { "1.2", "1.3" }

local one, two

setup(function()
  fault.start()
  one, two = fault.clients.one, fault.clients.two
  helper.watch(one.password)
end)

teardown(fault.stop)

local function serve(version, more)
  local options = { tls_version = version, client_certificate = "required" }
  for name, value in pairs(more or {}) do options[name] = value end
  return calls.serve(options)
end

local function trusting(more)
  local made = { ca_file = fault.ca_file }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

local function certificates(record)
  local names = {}
  for i, conn in ipairs(record.conns) do names[i] = conn.certificate or "none" end
  return names
end

for _, way in ipairs(calls.WAYS) do
  describe("the client certificate of a " .. way.name .. " call", function()
    for _, version in ipairs(VERSIONS) do
      it("is sent to a server that requires one, TLS " .. version, function()
        local server = serve(version)
        for _, files in ipairs{
          { cert_file = one.cert_file, key_file = one.key_file },
          { cert_file = one.both_file, key_file = one.both_file }, { cert_file = one.both_file },
        } do
          assert.equal("accepted", calls.once(way, server, trusting(files)).outcome)
        end
        assert.same({ one.subject, one.subject, one.subject }, certificates(server:record()))
        server:close()
      end)

      it("is not sent for another call, TLS " .. version, function()
        local server = serve(version, { client_certificate = "asked" })
        local client = calls.client(server, trusting())
        local first = { cert_file = one.cert_file, key_file = one.key_file }
        local second = { cert_file = two.cert_file, key_file = two.key_file }
        for _, files in ipairs{ first, second, {}, first, second, {} } do
          assert.equal("accepted", way.call(client, files).outcome)
        end
        local record = server:record()
        assert.same({ one.subject, two.subject, "none" }, certificates(record))
        for _, conn in ipairs(record.conns) do
          assert.same({ 2, false }, { conn.requests, conn.resumed })
        end
        client:close()
        server:close()
      end)

      it("has TLS sessions of its own, TLS " .. version, function()
        local server = serve(version, { client_certificate = "asked", script = calls.CLOSING })
        local client = calls.client(server, trusting())
        local first = { cert_file = one.cert_file, key_file = one.key_file }
        local second = { cert_file = two.cert_file, key_file = two.key_file }
        for _, files in ipairs{ first, second, {}, first, second, {} } do
          assert.equal("accepted", way.call(client, files).outcome)
        end
        local record = server:record()
        local subjects = { one.subject, two.subject, "none" }
        for i, conn in ipairs(record.conns) do
          assert.equal(subjects[(i - 1) % 3 + 1], conn.certificate or "none", i)
          if calls.resumes(version) then assert.equal(i > 3, conn.resumed, i) end
        end
        assert.equal(6, record.connections)
        client:close()
        server:close()
      end)

      it("is not one in a file whose name differs only in case, TLS " .. version, function()
        calls.with_directory(function(dir)
          calls.copy(one.both_file, dir .. "/client.pem")
          calls.copy(two.both_file, dir .. "/CLIENT.pem")
          for _, script in ipairs{ helper.ANSWER, calls.CLOSING } do
            local server = serve(version, { client_certificate = "asked", script = script })
            local client = calls.client(server, trusting())
            for _, name in ipairs{ "client.pem", "CLIENT.pem" } do
              assert.equal("accepted", way.call(client, { cert_file = dir .. "/" .. name }).outcome)
            end
            assert.same({ one.subject, two.subject }, certificates(server:record()))
            client:close()
            server:close()
          end
        end)
      end)

      it("that is missing makes one attempt on one connection, TLS " .. version, function()
        local server = serve(version)
        for _ = 1, 3 do
          local answer = calls.once(way, server, trusting{ retries = 5 })
          if version == "1.2" or answer.outcome == "not_sent" then
            assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
          else
            -- TLS 1.3: the alert came only after the request was on its way
            assert.same({ "unknown", false, 1, 1 },
              { answer.outcome, answer.retryable, answer.meta.attempts, answer.meta.sends })
            assert.is_true(answer.kind == "tls" or answer.kind == "network", answer.kind)
          end
          local record = server:record(true)
          assert.same({ 1, 0 }, { record.connections, record.requests })
        end
        server:close()
      end)
    end

    -- The server finishes the handshake late; a slower client has sent nothing by then.
    it("that is required only after the request gives unknown", function()
      local answer
      for _, late in ipairs{ 0.3, 1, 3 } do
        local server = serve("1.3", { script = ("conn:slow_handshake(%g)"):format(late) })
        answer = calls.once(way, server, trusting{ retries = 5 })
        assert.equal(1, server:record().connections)
        server:close()
        if answer.outcome == "unknown" then break end
      end
      assert.same({ "unknown", false, 1, 1 },
        { answer.outcome, answer.retryable, answer.meta.attempts, answer.meta.sends })
      assert.is_true(answer.kind == "tls" or answer.kind == "network", answer.kind)
    end)

    it("that the server does not trust gives kind tls", function()
      local server = serve("1.2")
      local stranger = fault.clients.stranger
      local files = { cert_file = stranger.cert_file, key_file = stranger.key_file, retries = 5 }
      local answer = calls.once(way, server, trusting(files))
      assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
      local record = server:record()
      assert.same({ 1, 0 }, { record.connections, record.requests })
      server:close()
    end)
  end)
end

describe("the files of a client certificate", function()
  -- crux reports in `new` what it can check; libcurl reports the rest when it connects.
  local function refused(options, fields)
    local server = serve("1.2")
    local given = trusting{ cert_file = options.cert_file, key_file = options.key_file }
    local made, err = crux.new(given)
    if made then
      made:close()
      for _, way in ipairs(calls.WAYS) do
        local answer = calls.once(way, server, given)
        assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
      end
    else
      helper.check(nil, err)
      assert.equal("invalid", err.kind)
      assert.is_true(fields[err.field] or false, err.field)
    end
    assert.equal(0, server:record().requests)
    server:close()
  end

  local BOTH = { cert_file = true, key_file = true }

  it("are refused if they do not belong together", function()
    refused({ cert_file = one.cert_file, key_file = two.key_file }, BOTH)
  end)

  it("are refused without a certificate or a key in them", function()
    refused({ cert_file = one.key_file, key_file = one.key_file }, BOTH)
    refused({ cert_file = one.cert_file, key_file = one.cert_file }, BOTH)
    refused({ cert_file = one.cert_file }, BOTH)
    local empty = os.tmpname()
    finally(function() os.remove(empty) end)
    refused({ cert_file = empty, key_file = one.key_file }, BOTH)
    refused({ cert_file = one.cert_file, key_file = empty }, BOTH)
  end)

  it("are refused with an encrypted key", function()
    refused({ cert_file = one.cert_file, key_file = one.encrypted_file }, BOTH)
    refused({ cert_file = one.cert_file, key_file = one.old_encrypted_file }, BOTH)
  end)

  it("are invalid with key_file alone", function()
    local _, err = helper.call(crux.new, { key_file = one.key_file })
    assert.equal("invalid", err.kind)
    assert.is_true(BOTH[err.field] or false, err.field)
  end)

  -- There is a terminal for a prompt, and no answer.
  it("prompt for no pass phrase with an encrypted key", function()
    local status = os.execute("command -v script >/dev/null")
    if status ~= true and status ~= 0 then pending "expected the command script" end
    local server = serve("1.2")
    for _, name in ipairs{ "encrypted_file", "old_encrypted_file" } do
      for _, way in ipairs{ 1, 2 } do
        local typescript, source = os.tmpname(), os.tmpname()
        finally(function()
          os.remove(typescript)
          os.remove(source)
        end)
        local file = assert(io.open(source, "w"))
        file:write(([[
          local calls = require "spec.support.calls"
          local options = { ca_file = %q, cert_file = %q, key_file = %q }
          local ok, answer = pcall(calls.once, calls.WAYS[%d], { base_url = %q }, options)
          print(ok and answer.outcome .. " " .. answer.kind or "refused by new")
        ]]):format(fault.ca_file, one.cert_file, one[name], way, server.base_url))
        file:close()
        local command = helper.quoted(("timeout -s KILL 60 %s %s"):format(helper.lua, source))
        command = ("script -qec %s %s </dev/null 2>&1"):format(command, typescript)
        local pipe = assert(io.popen(command))
        local said = pipe:read("*l") or ""
        pipe:close()
        said = said:gsub("\r", "")
        assert.is_true(said == "not_sent tls" or said == "refused by new", said)
      end
    end
    server:close()
  end)
end)
