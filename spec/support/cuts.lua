--- Whatever the server does, and wherever it stops: the cases that hold for a call however it is carried.
--
--     local cuts = require "spec.support.cuts"
--     cuts.describe(describe, it, core.cancel_order)     -- or any function that makes one attempt and returns what it does
-- @module spec.support.cuts
local assert = require "luassert"
local core = require "crux.core"
local fault = require "spec.support.fault"

local cuts = {
  TOKEN = "wire-spec-token-0123456789abcdef",
  ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
  SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f",
}

local TOKEN, ORDER, SUPPLIER = cuts.TOKEN, cuts.ORDER, cuts.SUPPLIER

--- Arguments of a call to a server, and more.
function cuts.arguments(server, more)
  local made = {
    token = TOKEN, base_url = server.base_url, ca_file = fault.ca_file, timeout = 30, connect_timeout = 20,
    order_uuid = ORDER, skus = { { supplier_uuid = SUPPLIER, sku_id = "000106" } },
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- How many requests to cancel are in a record.
function cuts.patches(record)
  local count = 0
  for _, conn in ipairs(record.conns) do
    for _ in conn.data:gmatch("PATCH /orders/cancel/ HTTP/1%.1\r\n") do count = count + 1 end
  end
  return count
end

local ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Seen: yes\r\n\r\n{"a":[1,2]}'
local HEAD = #ANSWER - 11

-- What the server saw, and what was said of it.
local function agree(answer, record, before)
  local seen = cuts.patches(record) - (before or 0)
  local context = answer.outcome .. " " .. tostring(answer.kind) .. ", the server saw " .. seen
  assert.is_true(seen <= 1, context)
  if answer.outcome == "not_sent" then
    assert.equal(0, seen, context)
    assert.equal(0, answer.meta.sends)
    assert.equal(0, answer.meta.bytes_sent)
  else
    assert.equal(1, answer.meta.sends, context)
  end
end

--- Describes them all.
-- @tparam function describe busted's
-- @tparam function it busted's
-- @tparam function perform given arguments, makes one attempt: result | nil, err
function cuts.describe(describe, it, perform)
  local function call(server, more)
    local result, err = perform(cuts.arguments(server, more))
    local answer = result or err
    assert.is_nil(tostring(err):find(TOKEN, 1, true))
    assert.is_nil((answer.message or ""):find(TOKEN, 1, true))
    return answer
  end

  describe("a response cut anywhere", function()
    for _, tls in ipairs{ "plain", "good" } do
      for warm = 0, 1 do
        for _, how in ipairs{ "fin", "cut", "rst" } do
          it(("%s, %s connection, by %s"):format(tls, warm == 0 and "a fresh" or "a kept", how), function()
            local server = fault.serve{ tls = tls ~= "plain" and tls or nil, script = fault.CUT, shared = { answer = ANSWER } }
            for cut = 0, #ANSWER do
              server:set({ cut = cut, how = how, warm = warm }, true)
              for _ = 1, warm do assert.equal("accepted", call(server).outcome) end
              local answer = call(server)
              local record = server:record()
              assert.equal(warm + 1, cuts.patches(record), "cut after " .. cut)
              assert.equal(1, answer.meta.sends)
              assert.equal(warm > 0, answer.meta.reused)
              if cut >= HEAD then
                assert.equal("accepted", answer.outcome, "cut after " .. cut)
                assert.equal(cut < #ANSWER, answer.meta.body_error ~= nil, "cut after " .. cut)
                assert.equal("yes", answer.headers["x-seen"])
              elseif how ~= "rst" or answer.outcome ~= "accepted" then
                assert.equal("unknown", answer.outcome, "cut after " .. cut)
                assert.is_true(answer.kind == "network" or answer.kind == "protocol", answer.kind)
                assert.is_false(answer.retryable)
              end
            end
            server:close()
          end)
        end
      end
    end

    it("is what the server says, also for a rejection", function()
      local text = "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\n{}"
      local server = fault.serve{ script = fault.CUT, shared = { answer = text, how = "fin" } }
      for cut = 0, #text do
        server:set({ cut = cut }, true)
        local answer = call(server)
        assert.equal(1, cuts.patches(server:record()))
        assert.equal(cut >= #text - 2 and "rejected" or "unknown", answer.outcome)
      end
      server:close()
    end)
  end)

  describe("a connection", function()
    local function serve(script, more)
      local options = { script = script }
      for name, value in pairs(more or {}) do options[name] = value end
      return fault.serve(options)
    end

    for _, tls in ipairs{ "plain", "good" } do
      local identity = tls ~= "plain" and tls or nil
      describe(tls, function()
        local function run(script, more)
          local server = serve(script, { tls = identity })
          local answer = call(server, more)
          local record = server:record()
          server:close()
          agree(answer, record)
          return answer, record
        end

        it("of which the server reads only part", function()
          for _, size in ipairs{ 1, 40, 200 } do
            for _, how in ipairs{ "fin", "cut", "rst" } do
              assert.equal("unknown", run(("conn:read(%d) conn:%s()"):format(size, how)).outcome)
            end
          end
        end)

        it("that ends before the first byte of the request: another is used", function()
          local server = serve([[
            if n == 1 then
              conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
              conn:sleep(0.05) conn[shared.how](conn)
            else conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:request() end
          ]], { tls = identity })
          for _, how in ipairs{ "fin", "cut", "rst" } do
            server:set({ how = how }, true)
            assert.equal("accepted", call(server).outcome)
            core.sleep(0.15)
            local answer = call(server)
            assert.equal("accepted", answer.outcome)
            assert.equal(2, cuts.patches(server:record()))
            server:close()
            server = serve([[
              if n == 1 then
                conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
                conn:sleep(0.05) conn[shared.how](conn)
              else conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:request() end
            ]], { tls = identity })
          end
          server:close()
        end)

        it("with interim responses and then nothing", function()
          for _, interim in ipairs{ "100 Continue", "103 Early Hints" } do
            assert.equal("unknown", run(([[conn:request() conn:write("HTTP/1.1 %s\r\n\r\n") conn:fin()]]):format(interim)).outcome)
          end
        end)

        it("with interim responses and then the answer", function()
          local answer = run([[conn:request()
            conn:write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            conn:write("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n") conn:request()]])
          assert.equal("accepted", answer.outcome)
          assert.is_nil(answer.headers.link)
        end)

        it("with garbage", function()
          for _, text in ipairs{ "garbage\\r\\n\\r\\n", "\\0\\0\\0", "SSH-2.0-OpenSSH\\r\\n", "HTTP/9.9 200 OK\\r\\n\\r\\n", "\\r\\n\\r\\n" } do
            local answer = run(('conn:request() conn:write("%s") conn:fin()'):format(text))
            assert.equal("unknown", answer.outcome)
          end
        end)

        it("with 101, which nobody asked for", function()
          assert.equal("unknown", run([[conn:request() conn:write("HTTP/1.1 101 Switching\r\n\r\n") conn:fin()]]).outcome)
        end)

        it("with an answer to nobody left over from before", function()
          for _, status in ipairs{ "200 OK", "408 Request Timeout" } do
            for _, pause in ipairs{ "conn:sleep(0.05)", "" } do
              local server = serve(([[
                conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
                if n == 1 then %s conn:write("HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n") end
                if conn:request() then conn:write("HTTP/1.1 204 No Content\r\nX-Mine: yes\r\n\r\n") end
                conn:request()
              ]]):format(pause, status), { tls = identity })
              assert.equal("accepted", call(server).outcome)
              core.sleep(0.2)
              local answer = call(server)
              assert.equal("accepted", answer.outcome)
              assert.equal(204, answer.status)
              local record = server:record()
              assert.equal(2, cuts.patches(record))
              server:close()
            end
          end
        end)

        it("with a head too long", function()
          local one = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(400000) .. "\r\n\r\n") conn:fin()]])
          assert.same({ "unknown", "protocol" }, { one.outcome, one.kind })
          local many = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\n" .. ("X: 0123456789\r\n"):rep(27000) .. "\r\n") conn:fin()]])
          assert.same({ "unknown", "protocol" }, { many.outcome, many.kind })
          local limit = run([[conn:request() conn:write("HTTP/1.1 204 No\r\nX: " .. ("x"):rep(65510) .. "\r\n\r\n") conn:request()]])
          assert.equal("accepted", limit.outcome)
        end)

        it("with a body too long", function()
          local answer = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" .. ("x"):rep(5000)) conn:request()]],
            { max_body = 1000 })
          assert.equal("accepted", answer.outcome)
          assert.equal(1000, #answer.raw)
          assert.truthy(answer.meta.body_error:find("max_body", 1, true))
        end)

        it("that outlasts the deadline, before, during and after the head", function()
          local cases = {
            { 'conn:request() conn:hold()', "unknown", "timeout" },
            { 'conn:request() conn:write("HTTP/1.1 200 OK\\r\\nX:") conn:hold()', "unknown", "timeout" },
            { 'conn:request() conn:write("HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n12") conn:hold()', "accepted" },
            { 'conn:request() conn:write("HTTP/1.1 422 X\\r\\nContent-Length: 5\\r\\n\\r\\n12") conn:hold()', "rejected", "http" },
          }
          for _, case in ipairs(cases) do
            local answer, timeout
            -- what is too short a time for this machine to get so far in is no deadline during the answer
            for _, longer in ipairs{ 0.3, 1.5, 7.5 } do
              answer, timeout = run(case[1], { timeout = longer }), longer
              if answer.outcome == case[2] then break end
            end
            assert.same({ case[2], case[3] }, { answer.outcome, answer.kind })
            assert.is_true(answer.meta.time.total < timeout + 2)
          end
        end)
      end)
    end

    describe("that never stands:", function()
      local function fails(server, kind, more, retryable)
        local answer = call(server, more)
        assert.same({ "not_sent", kind }, { answer.outcome, answer.kind }, answer.message)
        assert.equal(0, answer.meta.sends)
        assert.equal(retryable, answer.retryable)
        return answer
      end

      it("a name that does not resolve", function()
        fails({ base_url = "https://crux.invalid" }, "dns", { timeout = 5 }, true)
      end)

      it("a refused port", function()
        local refused = fault.refused()
        fails(refused, "connect", nil, true)
        refused:close()
      end)

      it("a listener that never accepts", function()
        local silent = fault.silent()
        local answer = fails(silent, "timeout", { connect_timeout = 0.3 }, true)
        assert.is_true(answer.meta.time.total < 2)
        fails(silent, "timeout", { timeout = 0.3 }, true)
        silent:close()
      end)

      it("a handshake cut at once, in its middle, or never finished", function()
        for _, script in ipairs{ "conn:cut()", "conn:raw(1) conn:cut()", "conn:raw(1) conn:rst()", "conn:raw(100) conn:rst()",
            'conn:raw(50) conn:write_raw("HTTP/1.1 400 Bad Request\\r\\n\\r\\n") conn:cut()' } do
          local server = serve(script, { tls = "good" })
          fails(server, "tls", nil, false)
          server:close()
        end
        local server = serve("conn:raw(50) conn:hold()", { tls = "good" })
        fails(server, "timeout", { connect_timeout = 0.3 }, true)
        server:close()
      end)

      it("a certificate that is not to be trusted", function()
        for _, identity in ipairs{ "self_signed", "expired", "wrong_name" } do
          local server = serve("conn:request()", { tls = identity })
          fails(server, "tls", nil, false)
          assert.equal(0, server:record().bytes)
          server:close()
        end
        local server = serve("conn:request()", { tls = "good" })
        fails(server, "tls", { ca_file = "/etc/ssl/certs/ca-certificates.crt" }, false)
        server:close()
      end)

      it("a ca_path instead of a ca_file", function()
        local server = serve([[conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:request()]], { tls = "good" })
        assert.equal("accepted", (perform{
          token = TOKEN, order_uuid = ORDER, base_url = server.base_url, ca_path = fault.ca_path }).outcome)
        server:close()
      end)
    end)
  end)
end

return cuts
