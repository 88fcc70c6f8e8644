-- Only a well-formed HTTP/1.x head gives a status.
local calls = require "spec.support.calls"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

teardown(fault.stop)

local REFUSED_LINES = {
  "HTTP/1.1 200X", "HTTP/1.1 200.5 OK", "HTTP/1.1 200:OK", "HTTP/1.1 422X", "HTTP/1.1 2000",
  "HTTP/1.1 20", "HTTP/1.1 20 OK", "HTTP/1.1 2O0 OK", "HTTP/1.1 -200 OK", "HTTP/1.1 +20 OK",
  "HTTP/1.1 0x2 OK", "HTTP/1.1 099 X", "HTTP/1.1 000 X", "HTTP/1.1 200\0", "HTTP/1.1 200\tOK",
  "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1\t200 OK", "HTTP/1.1  200 OK", "HTTP/1.1200 OK",
  " HTTP/1.1 200 OK", "http/1.1 200 OK", "Http/1.1 200 OK", "HTTP/2 200", "HTTP/2.0 200 OK",
  "HTTP/0.9 200 OK", "HTTP/1.10 200 OK", "HTTP/1. 200 OK", "HTTP/1 200 OK", "HTTP/1.x 200 OK",
  "ICY 200 OK", "200 OK",
}

local ACCEPTED_LINES = {
  "HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.1 200 A 1", "HTTP/1.1 200 \195\169", "HTTP/1.1 299 X",
  "HTTP/1.0 200 OK",
}

local REFUSED_FIELDS = {
  "X-One : a", "X One: a", ": a", "X-One", "X-(One): a", "X-One: a\rb", "X-One: a\0b",
  "Content-Length: +2", "Content-Length: 2,", "Content-Length: two", "Content-Length: -1",
  "Content-Length:\r\n 2", "Transfer-Encoding:\r\n chunked",
}

local REST = "\r\nX-Seen: yes\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

local function describe_heads(way, tls)
  local server, client

  setup(function()
    server = fault.serve{ tls = tls, script = "conn:request() conn:write(shared.answer)" }
    client = calls.client(server, { ca_file = fault.ca_file })
  end)

  teardown(function()
    client:close()
    server:close()
  end)

  local function answered(text)
    server:set({ answer = text }, true)
    local answer = way.call(client)
    assert.equal(1, server:audit{ answer }.connections)
    return answer
  end

  local function is_refused(text)
    local answer = answered(text)
    local context = ("%q: %s"):format(text:match("^[^\n]*\n?[^\n]*"), tostring(answer))
    assert.same({ "unknown", "protocol" }, { answer.outcome, answer.kind }, context)
    assert.is_nil(answer.status, context)
  end

  it("a malformed status line is refused", function()
    for _, line in ipairs(REFUSED_LINES) do is_refused(line .. REST) end
  end)

  it("a status line can have any reason phrase, or none", function()
    for _, line in ipairs(ACCEPTED_LINES) do
      local answer = answered(line .. REST)
      assert.equal("accepted", answer.outcome, line)
      assert.equal(tonumber(line:match(" (%d+)")), answer.status, line)
    end
  end)

  it("a head whose first field line begins with a blank is refused", function()
    for _, blank in ipairs{ " ", "\t", "  \t" } do
      local field = blank .. "X-One: a\r\n"
      is_refused("HTTP/1.1 200 OK\r\n" .. field .. "Content-Length: 0\r\n\r\n")
      is_refused("HTTP/1.1 103 Early Hints\r\n" .. field .. "\r\n" .. helper.response(204))
    end
  end)

  it("a head with a malformed field line is refused", function()
    for _, field in ipairs(REFUSED_FIELDS) do
      is_refused("HTTP/1.1 200 OK\r\n" .. field .. "\r\n\r\n{}")
    end
  end)

  it("a head with two different lengths is refused", function()
    is_refused(helper.response(200, "{}", { "Content-Length: 3" }))
  end)

  it("101, which was not requested, is refused", function()
    is_refused("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
  end)
end

for _, way in ipairs(calls.WAYS) do
  describe(("a %s call over TCP:"):format(way.name), function() describe_heads(way) end)
  describe(("a %s call over TLS:"):format(way.name), function() describe_heads(way, "good") end)
end

-- libcurl 7.83 to 8.0 wrote to freed memory here. A process of its own may crash.
local ODD_AND_USUAL = [[
  local calls, fault = require "spec.support.calls", require "spec.support.fault"
  local helper, way = require "spec.helper", require "spec.support.calls".WAYS[%d]
  local function serve(line)
    return fault.serve{ script = "while conn:request() do conn:write(shared.answer) end",
      shared = { answer = helper.response(200, "{}", { line }) } }
  end
  local usual, odd, client = serve "X-One: a", serve " X-One: a", calls.client()
  for _ = 1, 20 do
    for _, server in ipairs{ usual, odd } do
      local answer = way.call(client, { base_url = server.base_url })
      io.write(answer.status or answer.kind, " ")
    end
  end
  client:close()
  fault.stop()
]]

for i, way in ipairs(calls.WAYS) do
  it(("a %s call: a folded first field line leaves the connection usable"):format(way.name),
    function()
      local said = helper.child(ODD_AND_USUAL:format(i), { MALLOC_PERTURB_ = "165" }, "timeout 60")
      assert.equal(("200 protocol "):rep(20), said)
    end)
end
