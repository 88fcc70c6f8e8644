-- Responses that arrive in small pieces, and large ones on several connections at once.
local calls = require "spec.support.calls"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

teardown(fault.stop)

local BODY = '{"a":[1,2]}'
local ANSWERS = {
  ["with a length"] = helper.response(200, BODY),
  ["in chunks"] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" ..
    '1\r\n{\r\n9;x=y\r\n"a":[1,2]\r\n1\r\n}\r\n0\r\nX-Trailer: yes\r\n\r\n',
  ["after interim responses"] = "HTTP/1.1 100 Continue\r\n\r\n" ..
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. helper.response(200, BODY),
}

local BYTE_BY_BYTE = [[
  while conn:request() do
    for i = 1, #shared.answer do conn:write(shared.answer:sub(i, i)) conn:sleep(0) end
  end
]]

-- Each response repeats the order of its request.
local LARGE = [[
  while true do
    local request = conn:request()
    if not request then return end
    local uuid = request.body:match('"order_uuid":"([^"]+)"')
    local body = ('["%s"]'):format((uuid .. " "):rep(10000))
    conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#body, body))
  end
]]

local function describe_pieces(way, tls)
  for name, text in pairs(ANSWERS) do
    it(("a response %s that arrives byte by byte is complete"):format(name), function()
      local server = fault.serve{ tls = tls, shared = { answer = text }, script = BYTE_BY_BYTE }
      local client, answers = calls.client(server, { ca_file = fault.ca_file }), {}
      for i = 1, 2 do
        local answer = way.call(client)
        answers[i] = answer
        assert.same({ 200, BODY, i == 2 }, { answer.status, answer.raw, answer.meta.reused })
        assert.is_nil(answer.meta.body_error)
        assert.is_nil(answer.headers.link)
      end
      assert.equal(1, server:audit(answers).connections)
      client:close()
      server:close()
    end)
  end

  it("a body without a length that a reset ends is truncated", function()
    local server = fault.serve{ tls = tls, script = [[
      conn:request() conn:write("HTTP/1.1 200 OK\r\n\r\n[1,2]") conn:rst()
    ]] }
    local answer = calls.once(way, server, { ca_file = fault.ca_file })
    assert.same({ "accepted", "[1,2]" }, { answer.outcome, answer.raw })
    assert.is_nil(answer.body)
    assert.truthy(tostring(answer.meta.body_error):find("^cut off after 5 bytes"))
    server:audit{ answer }
    server:close()
  end)

  it("a body without a length that the deadline ends is truncated", function()
    local server = fault.serve{ tls = tls, script = [[
      conn:request() conn:write("HTTP/1.1 422 X\r\n\r\n[1,2]") conn:hold()
    ]] }
    local client, answers = calls.client(server, { ca_file = fault.ca_file }), {}
    -- a slow machine may not get so far in half a second
    for _, timeout in ipairs{ 0.5, 5 } do
      answers[#answers + 1] = way.call(client, { timeout = timeout })
      if answers[#answers].status then break end
    end
    local answer = answers[#answers]
    assert.same({ "rejected", 422, "[1,2]" }, { answer.outcome, answer.status, answer.raw })
    assert.is_nil(answer.body)
    assert.truthy(tostring(answer.meta.body_error):find("^cut off after 5 bytes"))
    server:audit(answers)
    client:close()
    server:close()
  end)
end

local function describe_large(tls)
  it("64 large responses on 16 connections reach their own calls", function()
    local server = fault.serve{ tls = tls, script = LARGE }
    local client = calls.client(server, { ca_file = fault.ca_file, max_connections = 16 })
    local pendings, answers = {}, {}
    local function uuid(i) return ("%08x-0000-4000-8000-000000000000"):format(i) end
    for i = 1, 64 do
      pendings[i] = assert(client:submit("cancel_order", calls.order{ order_uuid = uuid(i) }))
    end
    for i, pending in ipairs(pendings) do
      local _, result, err = pending:wait()
      answers[i] = assert(helper.check(result, err))
      assert.is_true(result.body[1] == (uuid(i) .. " "):rep(10000), "the answer to another call")
    end
    assert.is_true(server:audit(answers).connections <= 16)
    client:close()
    server:close()
  end)
end

for _, tls in ipairs{ "TCP", "TLS" } do
  local identity = tls == "TLS" and "good" or nil
  for _, way in ipairs(calls.WAYS) do
    describe(("a %s call over %s:"):format(way.name, tls), function()
      describe_pieces(way, identity)
    end)
  end
  describe(("submitted calls over %s:"):format(tls), function() describe_large(identity) end)
end
