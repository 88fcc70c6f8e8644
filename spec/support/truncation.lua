--- Cases that hold for a call however it is made: a response that is truncated after any of its
-- bytes, and a server that fails in other ways.
--
--     local truncation = require "spec.support.truncation"
--     truncation.describe_lengths(it, perform, lanes)
--     truncation.describe_faults(describe, it, core.cancel_order)
-- @module spec.support.truncation
local assert = require "luassert"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local truncation = {
  TOKEN = "wire-spec-token-0123456789abcdef",
  ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
  SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f",
  --- How the fault server closes a connection, in words.
  ENDS = { fin = "FIN", rst = "RST", cut = "FIN without close_notify" },
}

local TOKEN, ORDER, SUPPLIER = truncation.TOKEN, truncation.ORDER, truncation.SUPPLIER

--- Arguments of a call to a server, and more.
function truncation.arguments(server, more)
  local made = {
    token = TOKEN, base_url = server.base_url, ca_file = fault.ca_file, timeout = 30, connect_timeout = 20,
    order_uuid = ORDER, skus = { { supplier_uuid = SUPPLIER, sku_id = "000106" } },
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- How many requests to cancel are in a record.
function truncation.patches(record)
  local count = 0
  for _, conn in ipairs(record.conns) do
    for _ in conn.data:gmatch("PATCH /orders/cancel/ HTTP/1%.1\r\n") do count = count + 1 end
  end
  return count
end

-- --- a response that is truncated after any of its bytes ---

local INTERIM = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
local BY_LENGTH = 'Content-Length: 11\r\n\r\n{"a":[1,2]}'
local IN_CHUNKS = 'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n7\r\n:[1,2]}\r\n0\r\n\r\n'

local function make_response(name, status, interim, framed)
  local text = ("%sHTTP/1.1 %d It Says\r\nX-Seen: yes\r\n%s"):format(interim, status, framed)
  local _, head_end = text:find("\r\n\r\n", #interim + 1, true)
  return { name = name, status = status, text = text, head_end = head_end }
end

local RESPONSES = {
  make_response("with a length", 200, "", BY_LENGTH),
  make_response("in chunks", 422, "", IN_CHUNKS),
  make_response("with a length after interim ones", 422, INTERIM, BY_LENGTH),
  make_response("in chunks after interim ones", 200, INTERIM, IN_CHUNKS),
}

-- The part of the body that the first bytes of a response hold.
local function body_of(case, length)
  local text = case.text:sub(case.head_end + 1, length)
  if not case.text:find("chunked", 1, true) then return text end
  local parts, at = {}, 1
  while true do
    local size, first = text:match("^(%x+)\r\n()", at)
    if not size then return table.concat(parts) end
    parts[#parts + 1] = text:sub(first, first + tonumber(size, 16) - 1)
    at = first + tonumber(size, 16) + 2
  end
end

-- CRUX_TRUNCATION comes from the Makefile's TRUNCATION: `all`, or `boundaries`, which may be
-- followed by `:SEED`. Every length costs a connection, so `all` is the default only where those
-- are cheap.
local cheap = helper.lua == "lua5.4" or helper.lua:find("asan/host", 1, true)
local wanted = os.getenv "CRUX_TRUNCATION" or cheap and "all" or "boundaries"
local default_mode, seed = wanted:match("^(%a+):?(%d*)$")
local OTHERS = 16
seed = tonumber(seed) or os.time()

-- The numbers of bytes after which a response is truncated. The last is the whole. With the same
-- seed the same lengths are chosen, whichever specs are run.
local function lengths_of(text, mode)
  local chosen, list = { [0] = true, [#text] = true }, {}
  for at in text:gmatch("()\r\n") do
    for i = at - 1, at + 1 do chosen[i] = true end
  end
  -- not math.random, which differs from one Lua to the next
  local random = seed
  for _ = 1, OTHERS do
    random = random * 16807 % 2147483647
    chosen[random % #text] = true
  end
  for length = 0, #text do
    if mode == "all" or chosen[length] then list[#list + 1] = length end
  end
  return list
end

-- The order's UUID tells the server what to do: after how many bytes to truncate the response; or
-- to send all of it, once so many requests have arrived.
local FULL = 0xffffffff
local SCRIPT = [[
  while true do
    local request = conn:request()
    if not request then return conn:fin() end
    local length, size = request.body:match('"order_uuid":"(%x+)-(%x+)')
    if length ~= "ffffffff" then
      conn:write(shared.answer:sub(1, tonumber(length, 16)))
      return conn[shared.how](conn)
    end
    conn:meet(tonumber(size, 16))
    conn:write(shared.answer)
  end
]]

-- Lists of calls: those of one list are made at once, and are done before the next list's begin.
local function plan_calls(server, list, kept, lanes)
  local groups, first = {}, 1
  local function add(last, is_full)
    local group, size = {}, last - first + 1
    for i = first, last do
      local uuid = ("%08x-%04x-4000-8000-%012x"):format(is_full and FULL or list[i], size, i)
      group[#group + 1] = truncation.arguments(server, { order_uuid = uuid })
    end
    groups[#groups + 1] = group
  end
  while first <= #list do
    -- The whole response is a list of its own: its connection may be taken for another call.
    local last = first == #list and first or math.min(first + lanes, #list) - 1
    if kept then add(last, true) end
    add(last, false)
    first = last + 1
  end
  return groups
end

-- luassert's are too dear for so many.
local function same(expected, found, context)
  if expected ~= found then
    error(("expected %s, found %s: %s"):format(tostring(expected), tostring(found), context), 0)
  end
end

local function check_answer(case, length, kept, answer, context)
  same(1, answer.meta.sends, context)
  same(kept, answer.meta.reused, context)
  if length < case.head_end then
    same("unknown", answer.outcome, context)
    same(nil, answer.status, context)
    same(false, answer.retryable, context)
    local protocol = length > 0 and answer.kind == "protocol"
    same(true, protocol or answer.kind == "network", context)
    same(nil, answer.message:find("no connection", 1, true) or answer.message:find("not connect", 1, true), context)
    return
  end
  local whole = length == #case.text
  same(case.status == 200 and "accepted" or "rejected", answer.outcome, context)
  same(case.status == 422 and "http" or nil, answer.kind, context)
  same(case.status, answer.status, context)
  same("yes", answer.headers["x-seen"], context)
  same(nil, answer.headers.link, context)
  same(body_of(case, length), answer.raw, context)
  same(not whole, answer.meta.body_error ~= nil, context)
  same(whole and 2 or nil, answer.body and answer.body.a[2], context)
end

--- Describes what becomes of a call whose response is truncated.
-- @tparam function it busted's
-- @tparam function perform is given lists of arguments. It makes the calls of each list at once,
--   one list after the other, and returns all that they return in one list
-- @tparam number lanes how many calls there may be in a list
-- @tparam[opt] string mode `"boundaries"` for those alone
function truncation.describe_lengths(it, perform, lanes, mode)
  local note = ""
  mode = mode or default_mode
  if mode ~= "all" then
    note = (" (make … TRUNCATION=boundaries:%d)"):format(seed)
    io.stderr:write("truncation", note, "\n")
  end

  local function run(case, tls, kept, how)
    local shared = { answer = case.text, how = how }
    local server = fault.serve{ tls = tls, script = SCRIPT, shared = shared }
    local list = lengths_of(case.text, mode)
    local groups = plan_calls(server, list, kept, lanes)
    local answers, next_answer, next_length = perform(groups), 0, 0
    for i, group in ipairs(groups) do
      for _ = 1, #group do
        next_answer = next_answer + 1
        local answer = answers[next_answer]
        local context = ("%s (%s %s)%s"):format(answer.outcome, tostring(answer.kind),
          tostring(answer.message), note)
        if kept and i % 2 == 1 then
          same(case.status, answer.status, "in full: " .. context)
        else
          next_length = next_length + 1
          local length = list[next_length]
          context = ("truncated after %d of %d bytes: %s"):format(length, #case.text, context)
          check_answer(case, length, kept, answer, context)
        end
      end
    end
    same(#list, next_length, "lengths")
    server:audit(answers)
    server:close()
  end

  local PLAIN, TLS = { "fin", "rst" }, { "fin", "cut", "rst" }
  for _, case in ipairs(RESPONSES) do
    for tls, hows in pairs{ TCP = PLAIN, TLS = TLS } do
      for _, how in ipairs(hows) do
        for _, age in ipairs{ "new", "reused" } do
          local name = "a response %s, truncated by %s on a %s connection over %s"
          it(name:format(case.name, truncation.ENDS[how], age, tls), function()
            run(case, tls == "TLS" and "good" or nil, age == "reused", how)
          end)
        end
      end
    end
  end
end

--- Describes other ways in which a server fails.
-- @tparam function describe busted's
-- @tparam function it busted's
-- @tparam function perform given arguments, makes one attempt: result | nil, err
function truncation.describe_faults(describe, it, perform)
  local made = setmetatable({}, { __mode = "k" })

  local function call(server, more)
    local result, err = perform(truncation.arguments(server, more))
    local answer = result or err
    assert.is_nil(tostring(err):find(TOKEN, 1, true))
    assert.is_nil((answer.message or ""):find(TOKEN, 1, true))
    made[server] = made[server] or {}
    table.insert(made[server], answer)
    return answer
  end

  -- Compares what the calls report with what the server has recorded, and closes it.
  local function done(server)
    local record = server:audit(made[server])
    server:close()
    return record
  end

  describe("a server that fails", function()
    local function serve(script, more)
      local options = { script = script }
      for name, value in pairs(more or {}) do options[name] = value end
      return fault.serve(options)
    end

    for tls, identity in pairs{ TCP = false, TLS = "good" } do
      identity = identity or nil
      describe("over " .. tls .. ":", function()
        local function run(script, more)
          local server = serve(script, { tls = identity })
          local answer = call(server, more)
          assert.is_true(answer.meta.sends <= 1)
          return answer, done(server)
        end

        it("closing after it read a part of the request gives unknown", function()
          for _, size in ipairs{ 1, 40, 200 } do
            for _, how in ipairs{ "fin", "cut", "rst" } do
              assert.equal("unknown", run(("conn:read(%d) conn:%s()"):format(size, how)).outcome)
            end
          end
        end)

        it("closing an idle connection makes the next call use another", function()
          for _, how in ipairs{ "fin", "cut", "rst" } do
            local server = serve([[
              if n == 1 then
                conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
                conn:sleep(0.05) conn[shared.how](conn)
              else conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:request() end
            ]], { tls = identity, shared = { how = how } })
            assert.equal("accepted", call(server).outcome)
            core.sleep(0.15)
            assert.equal("accepted", call(server).outcome)
            assert.equal(2, truncation.patches(done(server)))
          end
        end)

        it("closing after interim responses gives unknown", function()
          for _, interim in ipairs{ "100 Continue", "103 Early Hints" } do
            assert.equal("unknown", run(([[conn:request() conn:write("HTTP/1.1 %s\r\n\r\n") conn:fin()]]):format(interim)).outcome)
          end
        end)

        it("sending interim responses before the response gives accepted", function()
          local answer = run([[conn:request()
            conn:write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            conn:write("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n") conn:request()]])
          assert.equal("accepted", answer.outcome)
          assert.is_nil(answer.headers.link)
        end)

        it("responding with garbage gives unknown", function()
          for _, text in ipairs{ "garbage\\r\\n\\r\\n", "\\0\\0\\0", "SSH-2.0-OpenSSH\\r\\n", "HTTP/9.9 200 OK\\r\\n\\r\\n", "\\r\\n\\r\\n" } do
            local answer = run(('conn:request() conn:write("%s") conn:fin()'):format(text))
            assert.equal("unknown", answer.outcome)
          end
        end)

        it("responding with 101, which was not requested, gives unknown", function()
          assert.equal("unknown", run([[conn:request() conn:write("HTTP/1.1 101 Switching\r\n\r\n") conn:fin()]]).outcome)
        end)

        it("sending an unsolicited response on an idle connection has no effect", function()
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
              assert.equal(2, truncation.patches(done(server)))
            end
          end
        end)

        it("sending a head that is too long gives unknown, protocol", function()
          local one = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\nX: " .. ("x"):rep(400000) .. "\r\n\r\n") conn:fin()]])
          assert.same({ "unknown", "protocol" }, { one.outcome, one.kind })
          local many = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\n" .. ("X: 0123456789\r\n"):rep(27000) .. "\r\n") conn:fin()]])
          assert.same({ "unknown", "protocol" }, { many.outcome, many.kind })
          local limit = run([[conn:request() conn:write("HTTP/1.1 204 No\r\nX: " .. ("x"):rep(65510) .. "\r\n\r\n") conn:request()]])
          assert.equal("accepted", limit.outcome)
        end)

        it("sending a body longer than max_body gives accepted with body_error", function()
          local answer = run([[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" .. ("x"):rep(5000)) conn:request()]],
            { max_body = 1000 })
          assert.equal("accepted", answer.outcome)
          assert.equal(1000, #answer.raw)
          assert.truthy(answer.meta.body_error:find("max_body", 1, true))
        end)

        it("stalling before, during or after the head ends at the deadline", function()
          local cases = {
            { 'conn:request() conn:hold()', "unknown", "timeout" },
            { 'conn:request() conn:write("HTTP/1.1 200 OK\\r\\nX:") conn:hold()', "unknown", "timeout" },
            { 'conn:request() conn:write("HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n12") conn:hold()', "accepted" },
            { 'conn:request() conn:write("HTTP/1.1 422 X\\r\\nContent-Length: 5\\r\\n\\r\\n12") conn:hold()', "rejected", "http" },
          }
          for _, case in ipairs(cases) do
            local answer, timeout
            -- a slow machine may not get as far as the response in the shorter times
            for _, longer in ipairs{ 0.3, 1.5, 7.5 } do
              answer, timeout = run(case[1], { timeout = longer }), longer
              if answer.outcome == case[2] then break end
            end
            assert.same({ case[2], case[3] }, { answer.outcome, answer.kind })
            assert.is_true(answer.meta.time.total < timeout + 15)
          end
        end)
      end)
    end

    describe("before a request is sent:", function()
      local function fails(server, kind, more, retryable)
        local answer = call(server, more)
        assert.same({ "not_sent", kind }, { answer.outcome, answer.kind }, answer.message)
        assert.equal(0, answer.meta.sends)
        assert.equal(retryable, answer.retryable)
        return answer
      end

      it("a name that does not resolve gives dns", function()
        fails({ base_url = "https://crux.invalid" }, "dns", { timeout = 5 }, true)
      end)

      it("a refused port gives connect", function()
        local refused = fault.refused()
        fails(refused, "connect", nil, true)
        refused:close()
      end)

      it("a listener that never accepts gives timeout", function()
        local silent = fault.silent()
        local answer = fails(silent, "timeout", { connect_timeout = 0.3 }, true)
        assert.is_true(answer.meta.time.total < 15)
        fails(silent, "timeout", { timeout = 0.3 }, true)
        silent:close()
      end)

      it("a handshake that is broken off gives tls, one that stalls timeout", function()
        for _, script in ipairs{ "conn:cut()", "conn:raw(1) conn:cut()", "conn:raw(1) conn:rst()", "conn:raw(100) conn:rst()",
            'conn:raw(50) conn:write_raw("HTTP/1.1 400 Bad Request\\r\\n\\r\\n") conn:cut()' } do
          local server = serve(script, { tls = "good" })
          fails(server, "tls", nil, false)
          done(server)
        end
        local server = serve("conn:raw(50) conn:hold()", { tls = "good" })
        fails(server, "timeout", { connect_timeout = 0.3 }, true)
        done(server)
      end)

      it("a certificate that is not trusted gives tls", function()
        for _, identity in ipairs{ "self_signed", "expired", "wrong_name" } do
          local server = serve("conn:request()", { tls = identity })
          fails(server, "tls", nil, false)
          assert.equal(0, done(server).bytes)
        end
        local server = serve("conn:request()", { tls = "good" })
        fails(server, "tls", { ca_file = "/etc/ssl/certs/ca-certificates.crt" }, false)
        done(server)
      end)

      it("a ca_path in place of a ca_file is trusted", function()
        local server = serve([[conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:request()]], { tls = "good" })
        assert.equal("accepted", (perform{
          token = TOKEN, order_uuid = ORDER, base_url = server.base_url, ca_path = fault.ca_path }).outcome)
        server:close()
      end)
    end)
  end)
end

return truncation
