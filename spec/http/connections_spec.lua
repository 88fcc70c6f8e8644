-- How many connections are opened, and that closed ones leak no descriptor and no memory.
local calls = require "spec.support.calls"
local core = require "crux.core"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local ORDER = calls.order()

teardown(fault.stop)

describe("32 calls at once on a fresh client", function()
  -- The first handshake waits for `go`. Answers take 20 ms, so that several calls are in flight.
  local SCRIPT = [[
    while n == 1 and not shared.go do conn:sleep(0.002) end
    if shared.fails and n == 1 then return conn:cut() end
    shared.live = (shared.live or 0) + 1
    conn:tell("live", shared.live)
    while conn:request() do
      conn:sleep(0.02)
      conn:write("HTTP/1.1 204 No Content\r\n\r\n")
    end
    shared.live = shared.live - 1
  ]]

  -- Returns how many connections there were, how many at once, and the calls' outcomes.
  local function run(most, fails)
    local server = fault.serve{ tls = "good", script = SCRIPT, shared = { fails = fails } }
    local client = calls.client(server, { ca_file = fault.ca_file, max_connections = most })
    local pendings, answers = {}, {}
    for i = 1, 32 do pendings[i] = assert(client:submit("cancel_order", ORDER)) end
    repeat core.sleep(0.005) until server:record().connections > 0
    core.sleep(0.2)
    assert.equal(1, server:record().connections)
    assert.equal(1, forks.connected(server.port))
    server:set{ go = true }
    local counts = { accepted = 0, not_sent = 0 }
    for i, pending in ipairs(pendings) do
      local _, result, err = pending:wait()
      helper.check(result, err)
      answers[i] = result or err
      counts[answers[i].outcome] = counts[answers[i].outcome] + 1
    end
    local record, live = server:audit(answers), 0
    for _, conn in ipairs(record.conns) do live = math.max(live, conn.live or 0) end
    client:close()
    server:close()
    return record.connections, live, counts
  end

  it("open one connection first, and then at most max_connections", function()
    for _, most in ipairs{ 8, 32 } do
      local connections, live, counts = run(most)
      assert.same({ 32, 0 }, { counts.accepted, counts.not_sent })
      assert.is_true(connections > 1 and connections <= most, connections .. " connections")
      assert.is_true(live <= most, live .. " at once")
    end
  end)

  it("open further connections after the first has failed", function()
    local connections, live, counts = run(8, true)
    assert.same({ 31, 1 }, { counts.accepted, counts.not_sent })
    assert.is_true(connections > 2 and connections <= 9, connections .. " connections")
    assert.is_true(live <= 8, live .. " at once")
  end)

  it("open no second connection while the first waits for a SYN-ACK", function()
    local silent = fault.silent()
    local before = forks.descriptors()
    local client = calls.client(silent)
    for _ = 1, 32 do assert(client:submit("cancel_order", ORDER)) end
    core.sleep(0.2)
    -- beside the connection, there are the worker's wakeup and poller
    local more = forks.descriptors() - before
    assert.is_true(more < 16, more .. " more descriptors")
    client:close()
    silent:close()
  end)
end)

-- What cannot be registered for a forked child to close is closed at once.
describe("a socket that fstat does not know #stock", function()
  local object

  setup(function() object = forks.compile("no_fstat.c") end)

  teardown(function() os.remove(object) end)

  for _, way in ipairs(calls.WAYS) do
    it(("is closed and fails the connection (%s)"):format(way.name), function()
      local server = fault.serve{ script = "conn:request()" }
      local found = helper.child(([[
        local calls = require "spec.support.calls"
        local forks = require "spec.support.forks"
        local client, way = calls.client({ base_url = %q })
        for _, one in ipairs(calls.WAYS) do if one.name == %q then way = one end end
        local counts = {}
        for i = 1, 20 do
          local err = way.call(client)
          assert(err.outcome == "not_sent" and err.kind == "memory", err.message)
          counts[i] = forks.descriptors()
        end
        print(counts[20] - counts[1])
      ]]):format(server.base_url, way.name), { LD_PRELOAD = object })
      assert.equal("0", found)
      assert.equal(0, server:record().connections)
      server:close()
    end)
  end
end)

-- Resident memory in kB, or nil without a /proc.
local function resident_memory()
  local file = io.open("/proc/self/status")
  local text = file and file:read("*a")
  if file then file:close() end
  return text and tonumber(text:match("\nVmRSS:%s*(%d+)"))
end

describe("1,000 connections in a row,", function()
  local CLOSES = [[
    if conn:request() then conn:write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") end
  ]]
  local CASES = {
    { name = "closed after a response", script = CLOSES, outcome = "accepted" },
    { name = "closed after a response over TLS", script = CLOSES, tls = "good",
      outcome = "accepted" },
    { name = "closed at once by idle_timeout = 0", script = helper.ANSWER,
      shared = { answer = helper.response(204) }, options = { idle_timeout = 0 },
      outcome = "accepted" },
    { name = "reset before a response", script = "conn:request() conn:rst()", outcome = "unknown" },
    { name = "closed during the handshake", script = "conn:raw(1) conn:cut()", tls = "good",
      outcome = "not_sent" },
    -- If the kernel picks that port as the local one, the client connects to itself. It happens.
    { name = "refused", outcome = "not_sent", or_else = "unknown" },
  }

  local function leave_nothing(case, way)
    local server = case.script
      and fault.serve{ tls = case.tls, script = case.script, shared = case.shared }
      or fault.refused()
    local options = { ca_file = fault.ca_file }
    for name, value in pairs(case.options or {}) do options[name] = value end
    local client = calls.client(server, options)
    local function cycles(count)
      for _ = 1, count do
        local outcome = way.call(client).outcome
        assert.is_true(outcome == case.outcome or outcome == case.or_else, outcome)
      end
      collectgarbage()
      collectgarbage()
      return forks.descriptors(), resident_memory() or 0
    end
    local descriptors, memory = cycles(300)
    local later, later_memory = cycles(1000)
    -- a leak grows with each round, the allocator's own memory does not
    for _ = 1, 2 do
      if later_memory - memory < 400 then break end
      memory = later_memory
      later, later_memory = cycles(1000)
    end
    -- the worker may still be closing the last one
    local deadline = core.now() + 15
    while later > descriptors and core.now() < deadline do
      core.sleep(0.005)
      later = forks.descriptors()
    end
    assert.is_true(later <= descriptors, later - descriptors .. " more descriptors")
    assert.is_true(later_memory - memory < 400, later_memory - memory .. " kB more")
    assert.equal(0, forks.connected(server.port))
    client:close()
    server:close()
  end

  for _, case in ipairs(CASES) do
    for _, way in ipairs(calls.WAYS) do
      local name = "%s, leak no memory or descriptor (%s) #stock #tree"
      it(name:format(case.name, way.name), function()
        leave_nothing(case, way)
      end)
    end
  end
end)
