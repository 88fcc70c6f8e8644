--- Whatever the server does, and wherever it stops: the cases that hold for a call however it is carried.
--
--     local cuts = require "spec.support.truncation"
--     cuts.describe(describe, it, core.cancel_order)     -- or any function that makes one attempt and returns what it does
--     cuts.describe_cuts(it, perform, lanes)
-- @module spec.support.truncation
local assert = require "luassert"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

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

-- --- an answer that is cut off after any of its bytes ---

local INTERIM = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
local BY_LENGTH = 'Content-Length: 11\r\n\r\n{"a":[1,2]}'
local IN_CHUNKS = 'Transfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n7\r\n:[1,2]}\r\n0\r\n\r\n'

local function make_answer(name, status, interim, framed)
  local text = ("%sHTTP/1.1 %d It Says\r\nX-Seen: yes\r\n%s"):format(interim, status, framed)
  local _, head_end = text:find("\r\n\r\n", #interim + 1, true)
  return { name = name, status = status, text = text, head_end = head_end }
end

local ANSWERS = {
  make_answer("by length", 200, "", BY_LENGTH),
  make_answer("in chunks", 422, "", IN_CHUNKS),
  make_answer("by length after interim ones", 422, INTERIM, BY_LENGTH),
  make_answer("in chunks after interim ones", 200, INTERIM, IN_CHUNKS),
}

-- What the first bytes of an answer hold of its body.
local function body_of(case, cut)
  local text = case.text:sub(case.head_end + 1, cut)
  if not case.text:find("chunked", 1, true) then return text end
  local parts, at = {}, 1
  while true do
    local size, first = text:match("^(%x+)\r\n()", at)
    if not size then return table.concat(parts) end
    parts[#parts + 1] = text:sub(first, first + tonumber(size, 16) - 1)
    at = first + tonumber(size, 16) + 2
  end
end

-- CRUX_CUTS comes from the Makefile's CUTS: `all`, or `boundaries`, which may be followed by
-- `:SEED`. Every cut costs a connection, so `all` is the default only where those are cheap.
local cheap = helper.lua == "lua5.4" or helper.lua:find("asan/host", 1, true)
local wanted = os.getenv "CRUX_CUTS" or cheap and "all" or "boundaries"
local default_mode, seed = wanted:match("^(%a+):?(%d*)$")
local OTHERS = 16
seed = tonumber(seed) or os.time()

-- The numbers of bytes after which an answer is cut. The last is the whole. With the same seed the
-- same places are chosen, whichever specs are run.
local function cut_places(text, mode)
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
  for cut = 0, #text do
    if mode == "all" or chosen[cut] then list[#list + 1] = cut end
  end
  return list
end

-- The order's UUID tells the server what to do: after how many bytes to cut; or to answer in full,
-- once so many requests are there.
local FULL = 0xffffffff
local CUT = [[
  while true do
    local request = conn:request()
    if not request then return conn:fin() end
    local cut, size = request.body:match('"order_uuid":"(%x+)-(%x+)')
    if cut ~= "ffffffff" then
      conn:write(shared.answer:sub(1, tonumber(cut, 16)))
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
      group[#group + 1] = cuts.arguments(server, { order_uuid = uuid })
    end
    groups[#groups + 1] = group
  end
  while first <= #list do
    -- The whole answer is a list of its own: its connection may be taken for another call.
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

local function check_cut(case, cut, kept, answer, context)
  same(1, answer.meta.sends, context)
  same(kept, answer.meta.reused, context)
  if cut < case.head_end then
    same("unknown", answer.outcome, context)
    same(nil, answer.status, context)
    same(false, answer.retryable, context)
    local protocol = cut > 0 and answer.kind == "protocol"
    same(true, protocol or answer.kind == "network", context)
    same(nil, answer.message:find("no connection", 1, true) or answer.message:find("not connect", 1, true), context)
    return
  end
  local whole = cut == #case.text
  same(case.status == 200 and "accepted" or "rejected", answer.outcome, context)
  same(case.status == 422 and "http" or nil, answer.kind, context)
  same(case.status, answer.status, context)
  same("yes", answer.headers["x-seen"], context)
  same(nil, answer.headers.link, context)
  same(body_of(case, cut), answer.raw, context)
  same(not whole, answer.meta.body_error ~= nil, context)
  same(whole and 2 or nil, answer.body and answer.body.a[2], context)
end

--- Describes what becomes of an answer that is cut off.
-- @tparam function it busted's
-- @tparam function perform is given lists of arguments. It makes the calls of each list at once,
--   one list after the other, and returns all that they return in one list
-- @tparam number lanes how many calls there may be in a list
-- @tparam[opt] string mode `"boundaries"` for those alone
function cuts.describe_cuts(it, perform, lanes, mode)
  local note = ""
  mode = mode or default_mode
  if mode ~= "all" then
    note = (" (make … CUTS=boundaries:%d)"):format(seed)
    io.stderr:write("cuts", note, "\n")
  end

  local function run(case, tls, kept, how)
    local shared = { answer = case.text, how = how }
    local server = fault.serve{ tls = tls, script = CUT, shared = shared }
    local list = cut_places(case.text, mode)
    local groups = plan_calls(server, list, kept, lanes)
    local answers, next_answer, next_cut = perform(groups), 0, 0
    for i, group in ipairs(groups) do
      for _ = 1, #group do
        next_answer = next_answer + 1
        local answer = answers[next_answer]
        local context = ("%s (%s %s)%s"):format(answer.outcome, tostring(answer.kind),
          tostring(answer.message), note)
        if kept and i % 2 == 1 then
          same(case.status, answer.status, "in full: " .. context)
        else
          next_cut = next_cut + 1
          local cut = list[next_cut]
          context = ("cut after %d of %d bytes: %s"):format(cut, #case.text, context)
          check_cut(case, cut, kept, answer, context)
        end
      end
    end
    same(#list, next_cut, "cuts")
    server:audit(answers)
    server:close()
  end

  local PLAIN, TLS = { "fin", "rst" }, { "fin", "cut", "rst" }
  for _, case in ipairs(ANSWERS) do
    for tls, hows in pairs{ plain = PLAIN, TLS = TLS } do
      for _, how in ipairs(hows) do
        for _, age in ipairs{ "fresh", "kept" } do
          it(("an answer %s, cut by %s, %s, %s"):format(case.name, how, age, tls), function()
            run(case, tls == "TLS" and "good" or nil, age == "kept", how)
          end)
        end
      end
    end
  end
end

--- Describes all other cases.
-- @tparam function describe busted's
-- @tparam function it busted's
-- @tparam function perform given arguments, makes one attempt: result | nil, err
function cuts.describe(describe, it, perform)
  local made = setmetatable({}, { __mode = "k" })

  local function call(server, more)
    local result, err = perform(cuts.arguments(server, more))
    local answer = result or err
    assert.is_nil(tostring(err):find(TOKEN, 1, true))
    assert.is_nil((answer.message or ""):find(TOKEN, 1, true))
    made[server] = made[server] or {}
    table.insert(made[server], answer)
    return answer
  end

  -- What was claimed of the wire is held against what the server saw.
  local function done(server)
    local record = server:audit(made[server])
    server:close()
    return record
  end

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
          assert.is_true(answer.meta.sends <= 1)
          return answer, done(server)
        end

        it("of which the server reads only part", function()
          for _, size in ipairs{ 1, 40, 200 } do
            for _, how in ipairs{ "fin", "cut", "rst" } do
              assert.equal("unknown", run(("conn:read(%d) conn:%s()"):format(size, how)).outcome)
            end
          end
        end)

        it("that ends before the first byte of the request: another is used", function()
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
            assert.equal(2, cuts.patches(done(server)))
          end
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
              assert.equal(2, cuts.patches(done(server)))
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
          done(server)
        end
        local server = serve("conn:raw(50) conn:hold()", { tls = "good" })
        fails(server, "timeout", { connect_timeout = 0.3 }, true)
        done(server)
      end)

      it("a certificate that is not to be trusted", function()
        for _, identity in ipairs{ "self_signed", "expired", "wrong_name" } do
          local server = serve("conn:request()", { tls = identity })
          fails(server, "tls", nil, false)
          assert.equal(0, done(server).bytes)
        end
        local server = serve("conn:request()", { tls = "good" })
        fails(server, "tls", { ca_file = "/etc/ssl/certs/ca-certificates.crt" }, false)
        done(server)
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
