-- Large requests: a server that does not read to the end, responds early, or half-closes.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

teardown(fault.stop)

-- SKUs for a body of about so many bytes.
local function skus(bytes)
  local list, count = {}, math.ceil(bytes / 2000)
  local text = ("x"):rep(bytes / count - 70)
  for i = 1, count do list[i] = { supplier_uuid = helper.SUPPLIER, sku_id = text } end
  return list
end

local LARGE, LONG = skus(8e6), skus(1e5)
local LARGE_MOST, LONG_MOST = 8.2e6, 1.1e5 -- bytes of the whole request

-- A listener, and a client of it. Returns a function that makes a call, and one that ends both and
-- returns the server's record.
local function session(way, kind, script, shared)
  local server = fault.serve{
    tls = kind ~= "plain" and "good" or nil, tls_version = kind:match("[%d.]+$"), script = script,
    shared = shared,
  }
  local client = calls.client(server, { ca_file = fault.ca_file, retries = 2, timeout = 20 })
  local answers = {}
  local function call(more)
    answers[#answers + 1] = way.call(client, more)
    return answers[#answers]
  end
  local function done()
    local record = server:audit(answers)
    client:close()
    server:close()
    return record
  end
  return call, done, server
end

local function is(expected, answer, context)
  context = (context or "") .. " " .. tostring(answer)
  assert.same(expected, { answer.outcome, answer.kind, answer.status }, context)
end

-- Reads the beginning of a request, responds, and then does shared.next; a second connection is
-- handled normally.
local EARLY = [[
  if n == 1 then
    conn:read(100000) conn:write(shared.answer) conn[shared.next](conn) conn:eof()
  elseif conn:request() then
    conn:write("HTTP/1.1 204 No Content\r\n\r\n") conn:eof()
  end
]]

local CUT_AFTER = [[
  if shared.kept == 1 then conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n") end
  conn:read(shared.size) conn[shared.how](conn)
]]

local INTERIM_TWICE = [[
  for _, text in ipairs{ "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n" } do
    local start = conn:read(100000)
    if not start then return end
    conn:write(text)
    local _, last = start:find("\r\n\r\n", 1, true)
    conn:read(last + math.tointeger(start:match("Content%-Length: (%d+)")) - 100000)
    conn:write("HTTP/1.1 204 No Content\r\n\r\n")
  end
]]

local function describe_uploads(way, kind)
  it("a server that reads a part and closes gives unknown with enough bytes_sent", function()
    for _, how in ipairs{ "fin", "cut", "rst" } do
      for _, size in ipairs{ 1, 200, 50000 } do
        for kept = 0, 1 do
          local shared = { kept = kept, size = size, how = how }
          local call, done = session(way, kind, CUT_AFTER, shared)
          if kept == 1 then is({ "accepted", nil, 204 }, call()) end
          local answer = call{ skus = LONG }
          local context = ("%s after %d, %d kept:"):format(how, size, kept)
          is({ "unknown", "network" }, answer, context)
          assert.same({ 1, kept == 1 }, { answer.meta.sends, answer.meta.reused }, context)
          local bytes = answer.meta.bytes_sent
          assert.is_true(bytes >= size and bytes < LONG_MOST, context .. bytes)
          assert.equal(1, done().connections, context)
        end
      end
    end
  end)

  it("an early 413 or 401 to 8 MB gives rejected, and the connection is not reused", function()
    for _, status in ipairs{ 413, 401 } do
      for _, next_step in ipairs{ "eof", "hold", "half", "fin", "cut", "rst" } do
        local text = helper.response(status, '{"detail":"enough"}')
        local call, done = session(way, kind, EARLY, { answer = text, next = next_step })
        local answer = call{ skus = LARGE }
        is({ "rejected", status == 401 and "auth" or "http", status }, answer, next_step)
        assert.same({ "enough", 1 }, { answer.detail, answer.meta.sends }, next_step)
        local bytes = answer.meta.bytes_sent
        assert.is_true(bytes >= 1e5 and bytes < LARGE_MOST, next_step .. bytes)
        is({ "accepted", nil, 204 }, call(), next_step)
        assert.equal(2, done().connections, next_step)
      end
    end
  end)

  it("an early 200 to 8 MB gives accepted, and the connection is not reused", function()
    for _, next_step in ipairs{ "eof", "half", "fin", "cut", "rst" } do
      local text = helper.response(200, "{}")
      local call, done = session(way, kind, EARLY, { answer = text, next = next_step })
      local answer = call{ skus = LARGE }
      is({ "accepted", nil, 200 }, answer, next_step)
      assert.equal(1, answer.meta.sends)
      is({ "accepted", nil, 204 }, call(), next_step)
      assert.equal(2, done().connections, next_step)
    end
  end)

  it("an early response that arrives in pieces is read to its end", function()
    for _, case in ipairs{
      { 413, "rejected", "http" }, { 200, "accepted", nil, "Connection: close" },
    } do
      local text = helper.response(case[1], '{"detail":"enough"}', { case[4] })
      local call, done = session(way, kind, [[
        conn:read(100000)
        for i = 1, #shared.answer do conn:write(shared.answer:sub(i, i)) conn:sleep(0.001) end
        conn:hold()
      ]], { answer = text })
      local answer = call{ skus = LARGE }
      is({ case[2], case[3], case[1] }, answer)
      assert.same({ 1, '{"detail":"enough"}' }, { answer.meta.sends, answer.raw })
      assert.is_nil(answer.meta.body_error)
      done()
    end
  end)

  it("an interim response during 8 MB ends neither upload nor connection", function()
    local call, done = session(way, kind, INTERIM_TWICE)
    is({ "accepted", nil, 204 }, call{ skus = LARGE })
    local second = call{ skus = LARGE }
    is({ "accepted", nil, 204 }, second)
    assert.is_true(second.meta.reused)
    assert.equal(1, done().connections)
  end)

  it("8 MB to a server that reads slowly or nothing gives unknown at the deadline", function()
    for _, script in ipairs{
      "conn:read(1) conn:hold()", "for _ = 1, 50 do conn:read(1) conn:sleep(0.02) end conn:hold()",
    } do
      local call, done = session(way, kind, script)
      local answer = call{ skus = LARGE, timeout = 0.7 }
      -- a slow machine may not have sent anything by then
      if answer.meta.sends == 0 then answer = call{ skus = LARGE, timeout = 7 } end
      is({ "unknown", "timeout" }, answer)
      assert.is_true(answer.meta.bytes_sent < LARGE_MOST)
      done()
    end
  end)

  it("a half-close without a response gives unknown at once", function()
    for _, case in ipairs{
      { "conn:request() conn:half() conn:eof()" },
      { "conn:read(100000) conn:half() conn:eof()", LARGE },
      { "conn:read(100000) conn:half() conn:hold()", LARGE },
    } do
      local call, done = session(way, kind, case[1])
      local answer = call{ skus = case[2] }
      is({ "unknown", "network" }, answer, case[1])
      assert.equal(1, answer.meta.sends)
      assert.equal(1, done().connections)
    end
  end)

  it("a half-close after the response gives accepted, and no reuse", function()
    for _, piece in ipairs{ "conn:cork()", "" } do
      local call, done, server = session(way, kind, ([[
        if not conn:request() then return end
        %s conn:write(shared.answer) conn:half() conn:uncork() conn:tell("ended", true) conn:eof()
      ]]):format(piece), { answer = helper.response(200, "[1]") })
      for i = 1, 2 do
        local answer = call()
        assert.same({ 200, "[1]", false }, { answer.status, answer.raw, answer.meta.reused })
        assert.is_nil(answer.meta.body_error)
        repeat core.sleep(0.005) until server:record().conns[i].ended
      end
      assert.equal(2, done().connections)
    end
  end)

  it("a body without a length ends with a half-close", function()
    local call, done = session(way, kind, [[
      conn:request() conn:write("HTTP/1.1 200 OK\r\n\r\n[1,") conn:write("2]")
      conn:half() conn:eof()
    ]])
    for _ = 1, 2 do
      local answer = call()
      assert.same({ 200, { 1, 2 } }, { answer.status, answer.body })
      assert.is_nil(answer.meta.body_error)
    end
    assert.equal(2, done().connections)
  end)
end

-- 8 MB are slow under a sanitizer, and the two versions of TLS differ little here.
for _, kind in ipairs{ "plain", "TLS 1.2", "TLS 1.3" } do
  local tag = kind == "TLS 1.2" and " #stock" or ""
  for _, way in ipairs(calls.WAYS) do
    local name = "a %s call over %s:%s"
    describe(name:format(way.name, kind == "plain" and "TCP" or kind, tag), function()
      describe_uploads(way, kind)
    end)
  end
end

for _, tls in ipairs{ "TCP", "TLS" } do
  for _, how in ipairs{ "aborted", "closed with its client" } do
    local name = "an upload of 8 MB over %s that is %s gives unknown with enough bytes_sent"
    it(name:format(tls, how), function()
      local server = fault.serve{ tls = tls == "TLS" and "good" or nil,
        script = "conn:read(50000) conn:sleep(0.1) conn:eof()" }
      local client = calls.client(server, { ca_file = fault.ca_file })
      local pending = assert(client:submit("cancel_order", calls.order{ skus = LARGE }))
      repeat core.sleep(0.001) until server:record().bytes > 50000
      if how == "aborted" then pending:abort() else client:close() end
      local _, result, err = pending:poll()
      helper.check(result, err)
      is({ "unknown", "aborted" }, err)
      client:close()
      repeat core.sleep(0.005) until server:record().conns[1].eof
      server:audit{ err }
      server:close()
    end)
  end
end
