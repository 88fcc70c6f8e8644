-- Which connections are reused, and the outcome of a call whose reused connection closes.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local patient = require "spec.support.patient"

local ANSWER = "while conn:request() do conn:write(shared.answer) end"
local NO_CONTENT = "HTTP/1.1 204 No Content\r\n\r\n"
local CHUNKED = "Transfer-Encoding: chunked\r\n"
local CHUNK = "2\r\n{}\r\n0\r\n\r\n"

teardown(function()
  patient.stop()
  fault.stop()
end)

local function with(line) return helper.response(200, "{}", { line }) end

local REUSED = {
  ["without a body"] = NO_CONTENT,
  ["with a length"] = helper.response(200, "{}"),
  ["with the same length twice"] = with "Content-Length: 2",
  ["in chunks"] = "HTTP/1.1 200 OK\r\n" .. CHUNKED .. "\r\n2\r\n{}\r\n0\r\nX-Trailer: yes\r\n\r\n",
  ["after an interim response"] = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. NO_CONTENT,
  ["of 422"] = helper.response(422, "{}"),
  ["of 503"] = helper.response(503),
  ["with Keep-Alive: timeout=60"] = with "Keep-Alive: timeout=60, max=100",
}

local CLOSED = {
  ["with Connection: close"] = with "Connection: close",
  ["of 204 with Connection: close"] = helper.response(204, nil, { "Connection: close" }),
  ["with close among other options"] = with "Connection: x-y , CLOSE",
  ["with two Connection fields"] = with "Connection: keep-alive\r\nConnection: close",
  ["with a folded Connection field"] = with "Connection: keep-alive,\r\n close",
  ["of HTTP/1.0"] = helper.response(200, "{}"):gsub("^HTTP/1.1", "HTTP/1.0"),
  ["with both lengths"] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" .. CHUNKED .. "\r\n" .. CHUNK,
  ["with both lengths, chunked first"] =
    "HTTP/1.1 200 OK\r\n" .. CHUNKED .. "Content-Length: 12\r\n\r\n" .. CHUNK,
  ["in another coding"] =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n" .. CHUNK,
  ["with Keep-Alive: timeout=1"] = with "Keep-Alive: timeout=1",
  ["with Keep-Alive: timeout=0"] = with "Keep-Alive: max=100, timeout=0",
}

local function describe_reuse(way, tls)
  local client, server

  after_each(function()
    client:close()
    server:close()
  end)

  local function start(script, shared)
    server = fault.serve{ tls = tls, script = script, shared = shared }
    client = calls.client(server, { ca_file = fault.ca_file, retries = 2 })
  end

  local function twice(pause)
    local first = way.call(client, { retries = 0 })
    assert.truthy(first.status, tostring(first))
    if pause then core.sleep(pause) end
    return first, way.call(client, { retries = 0 })
  end

  for name, answer in pairs(REUSED) do
    it(("after a response %s the connection is reused"):format(name), function()
      start(ANSWER, { answer = answer })
      local first, second = twice()
      assert.equal(first.status, second.status)
      assert.is_true(second.meta.reused)
      assert.equal(1, server:audit{ first, second }.connections)
    end)
  end

  local function is_not_reused(answer, pause)
    start(ANSWER, { answer = answer })
    local first, second = twice(pause)
    assert.same({ "accepted", "accepted" }, { first.outcome, second.outcome })
    assert.is_false(second.meta.reused)
    assert.equal(2, server:audit{ first, second }.connections)
  end

  for name, answer in pairs(CLOSED) do
    it(("after a response %s the connection is not reused"):format(name), function()
      is_not_reused(answer)
    end)
  end

  it("Keep-Alive: timeout=2 keeps a connection for less than 1.1 s", function()
    is_not_reused(with "Keep-Alive: timeout=2", 1.1)
  end)

  it("a reused connection that closes after the request gives unknown, sent once", function()
    for _, how in ipairs{ "fin", "cut", "rst" } do
      start("conn:request() conn:write(shared.answer) conn:request() conn[shared.how](conn)",
        { answer = NO_CONTENT, how = how })
      local first, second = way.call(client), way.call(client)
      assert.same({ "unknown", "network" }, { second.outcome, second.kind }, how)
      assert.same({ 1, 1, true }, { second.meta.attempts, second.meta.sends, second.meta.reused })
      local record = server:audit{ first, second }
      assert.same({ 1, 2 }, { record.connections, record.requests }, how)
    end
  end)

  it("a connection that closes while idle is replaced", function()
    for _, how in ipairs{ "fin", "cut", "rst", "half" } do
      start([[
        conn:request() conn:write(shared.answer)
        if n == 1 then conn:sleep(0.01) conn[shared.how](conn) conn:tell("ended", true) end
        if conn:request() then conn:write(shared.answer) end
      ]], { answer = NO_CONTENT, how = how })
      local first = way.call(client)
      repeat core.sleep(0.005) until server:record().conns[1].ended
      local second = way.call(client)
      assert.same({ "accepted", 1 }, { second.outcome, second.meta.attempts }, how)
      assert.is_false(second.meta.reused)
      assert.equal(2, server:audit{ first, second }.connections)
    end
  end)
end

-- The server closes the connection when PATIENT_FLAG appears: after the client has probed the
-- connection, and before the client sends.
local BETWEEN = [[
  local server = fault.serve{ shared = { how = %q }, script = [=[
    conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
    local name, found = os.getenv "PATIENT_FLAG", nil
    while n == 1 and not found do
      conn:sleep(0.002)
      found = io.open(name)
    end
    if found then found:close() conn[shared.how](conn) end
    if conn:request() then conn:write("HTTP/1.1 204 No Content\r\n\r\n") end
  ]=] }
  call(server, { timeout = 20 })
  call(server, { timeout = 20, retries = 2 })
  seen(server, 1)
]]

for _, way in ipairs(calls.WAYS) do
  describe(("a %s call over TCP:"):format(way.name), function() describe_reuse(way) end)
  describe(("a %s call over TLS:"):format(way.name), function() describe_reuse(way, "good") end)

  it(("a %s call: a FIN between probe and send gives unknown"):format(way.name), function()
    local said = patient.run("before", way.name, BETWEEN:format "fin")
    assert.equal("accepted 204 1 1\nunknown network 1 1\n1 some\n", said)
  end)

  it(("a %s call: a reset between probe and send gives one send"):format(way.name), function()
    local said = patient.run("before", way.name, BETWEEN:format "rst")
    local rest = said:match("^accepted 204 1 1\n(.*)\n$")
    -- If the kernel took no byte, the client may notice and use another connection.
    assert.is_true(rest == "unknown network 1 1\n1 some" or rest == "accepted 204 1 1\n2 some" or
      rest == "accepted 204 2 1\n2 some", said)
  end)
end

-- The same, but the port then refuses connections.
local GONE = [[
  local server = fault.serve{ script = [=[
    conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
    local name, found = os.getenv "PATIENT_FLAG", nil
    while not found do
      conn:sleep(0.002)
      found = io.open(name)
    end
    found:close()
    conn.listener.closing = true
    conn.listener.socket:close()
    conn:rst()
  ]=] }
  call(server)
  local answer = call(server)
  print(answer.meta.bytes_sent, answer.meta.reused)
]]

for _, way in ipairs(calls.WAYS) do
  it(("a %s call: a reset, then a refused connection gives not_sent, reused = false"):format(
    way.name), function()
    local said = patient.run("before", way.name, GONE)
    assert.equal("accepted 204 1 1\nnot_sent connect 1 0\n0 false\n", said)
  end)
end

-- --- connections that the server has closed while they were idle ---

local IDLE = 5

-- Opens idle connections, each to another server, which the servers then close. Returns a function
-- that counts those still open on this side, and one that closes everything.
local function closed_while_idle(way)
  local servers, client = {}, calls.client()
  for i = 1, IDLE do
    servers[i] = fault.serve{ script = [[
      conn:request() conn:write("HTTP/1.1 204 No Content\r\n\r\n")
      while not shared.go do conn:sleep(0.002) end
    ]] }
    assert.equal(204, way.call(client, { base_url = servers[i].base_url }).status)
    assert.equal(1, forks.connected(servers[i].port))
  end
  for _, server in ipairs(servers) do
    server:set{ go = true }
    repeat core.sleep(0.002) until server:record().conns[1].closed
  end
  local function open()
    local count = 0
    for _, server in ipairs(servers) do count = count + forks.connected(server.port) end
    return count
  end
  local function done()
    client:close()
    for _, server in ipairs(servers) do server:close() end
  end
  return open, done
end

describe("idle connections that the server has closed", function()
  local blocking, submitted = calls.WAYS[1], calls.WAYS[2]

  it("are closed by the worker at once", function()
    local open, done = closed_while_idle(submitted)
    local deadline = core.now() + 5
    repeat core.sleep(0.002) until open() == 0 or core.now() > deadline
    assert.equal(0, open())
    done()
  end)

  it("are closed at the next blocking call of any client", function()
    local open, done = closed_while_idle(blocking)
    local server = fault.serve{ script = ANSWER, shared = { answer = NO_CONTENT } }
    assert.equal(204, calls.once(blocking, server).status)
    assert.equal(0, open())
    server:close()
    done()
  end)

  it("are closed when any client is closed", function()
    local other = calls.client()
    local open, done = closed_while_idle(blocking)
    other:close()
    assert.equal(0, open())
    done()
  end)

  it("are closed when any client is collected", function()
    local held = { calls.client() }
    local open, done = closed_while_idle(blocking)
    held[1] = tostring(held[1])
    assert.truthy(held[1]:find("^crux%.client"))
    collectgarbage()
    collectgarbage()
    assert.equal(0, open())
    done()
  end)
end)
