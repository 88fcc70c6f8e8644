-- The worker thread and the queues of clients: how calls share connections, and that the host's
-- thread never waits.
local crux = require "crux"
local core = require "crux.core"
local truncation = require "spec.support.truncation"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

local ORDER = { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }

teardown(fault.stop)

local function connect(server, more)
  local options = { token = helper.TOKEN, base_url = server.base_url, timeout = 20 }
  for name, value in pairs(more or {}) do options[name] = value end
  return assert(crux.new(options))
end

describe("a submitted call:", function()
  local client = assert(crux.new{ token = helper.TOKEN, retries = 0 })

  truncation.describe_faults(describe, it, function(arguments)
    local pending, err = client:submit("cancel_order", arguments)
    if not pending then return nil, err end
    repeat
      local done, result, why = pending:poll()
      if done then
        assert.equal(pending, client:step())
        return helper.check(result, why)
      end
      forks.readable(client:pollfd(), 0.25)
    until false
  end)
end)

describe("the queue of a client", function()
  local HELD = "shared.seen = (shared.seen or 0) + 1 conn:request() conn:hold()"

  it("holds 10,000 calls with one descriptor for each connection", function()
    local server = fault.serve{ script = HELD, backlog = 128 }
    local before = forks.descriptors()
    if not before then return pending("expected a /proc to count descriptors in") end
    local client = connect(server, { max_connections = 16 })
    local calls = {}
    for i = 1, 10000 do calls[i] = client:submit("cancel_order", ORDER) end
    assert.equal(10000, client:in_flight())
    local deadline = core.now() + 15
    repeat core.sleep(0.02) until server:record().requests == 16 or core.now() > deadline
    assert.equal(16, server:record().connections)
    assert.equal(16, forks.connected(server.port))
    -- beside them, there are the worker's wakeup and poller; connections of earlier specs may have
    -- closed meanwhile; if each connection has a curl multi of its own, each has a socket pair too
    local each = libcurl.here() < libcurl.RUN_TIME.CLOSES_AT_ONCE and 3 or 1
    local more, most = forks.descriptors() - before, 16 * each + 6
    assert.is_true(more <= most, ("expected at most %d more descriptors, found %d"):format(most, more))
    client:close()
    local counts = {}
    for _, call in ipairs(calls) do
      local _, _, err = call:poll()
      counts[err.outcome] = (counts[err.outcome] or 0) + 1
    end
    assert.same({ unknown = 16, not_sent = 9984 }, counts)
    deadline = core.now() + 15
    repeat core.sleep(0.02) until forks.connected(server.port) == 0 or core.now() > deadline
    assert.equal(0, forks.connected(server.port))
    assert.equal(16, server:record().connections, "closing sent more")
    server:close()
  end)

  it("fails a call as not_sent whose deadline passes in it", function()
    local server = fault.serve{ script = HELD }
    local client = connect(server, { max_connections = 1 })
    local first = client:submit("cancel_order", { order_uuid = helper.ORDER, timeout = 120 })
    local calls = {}
    local before = core.now()
    for i = 1, 20 do
      local timeout = 0.1 + 0.02 * (i % 5)
      calls[i] = client:submit("cancel_order", { order_uuid = helper.ORDER, timeout = timeout })
    end
    for _, call in ipairs(calls) do
      local _, _, err = call:wait(60)
      helper.check(nil, err)
      assert.same({ "not_sent", "timeout", 0 }, { err.outcome, err.kind, err.meta.sends })
    end
    assert.is_true(core.now() - before < 60)
    assert.is_false((first:poll()))
    assert.equal(1, server:record().connections)
    client:close()
    server:close()
  end)

  it("starts only one transfer until the first connection is established", function()
    local server = fault.serve{ tls = "good", script = [[
      if n == 1 then
        while not shared.go do conn:sleep(0.005) end
        conn:cut()
      end
      while conn:request() do conn:sleep(0.05) conn:write("HTTP/1.1 204 X\r\n\r\n") end ]] }
    local client = connect(server, { max_connections = 8, ca_file = fault.ca_file, retries = 0 })
    local calls = {}
    for i = 1, 30 do calls[i] = client:submit("cancel_order", ORDER) end
    repeat core.sleep(0.005) until server:record().connections > 0
    core.sleep(0.2)
    assert.equal(1, server:record().connections)
    server:set{ go = true }
    local accepted, first = 0, nil
    for i, call in ipairs(calls) do
      local _, result, err = call:wait()
      if result then accepted = accepted + 1 else first = { i, err.kind } end
    end
    assert.equal(29, accepted)
    assert.same({ 1, "tls" }, first)
    assert.is_true(server:record().connections <= 9)
    client:close()
    server:close()
  end)

  it("does not wait for the connections of another client", function()
    local held, quick = fault.serve{ script = HELD }, fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
    local slow, fast = connect(held, { max_connections = 1 }), connect(quick, { max_connections = 1 })
    local keep = { slow:submit("cancel_order", ORDER), slow:submit("cancel_order", ORDER) }
    assert.is_true(fast:submit("cancel_order", ORDER):wait(5))
    assert.equal(2, slow:in_flight(), #keep)
    slow:close()
    fast:close()
    held:close()
    quick:close()
  end)

  it("reuses connections for later calls", function()
    local server = fault.serve{ tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) } }
    local client = connect(server, { max_connections = 4, ca_file = fault.ca_file })
    local calls = {}
    for i = 1, 200 do calls[i] = client:submit("cancel_order", ORDER) end
    for _, call in ipairs(calls) do assert.equal(204, select(2, call:wait()).status) end
    assert.is_true(server:record().connections <= 4)
    client:close()
    server:close()
  end)
end)

describe("the worker thread #stock", function()
  it("sleeps while calls wait for responses", function()
    local server = fault.serve{ script = "conn:request() conn:hold()" }
    local client = connect(server)
    local calls = {}
    for i = 1, 500 do calls[i] = client:submit("cancel_order", ORDER) end
    -- in the quietest of several seconds: at first, connections are still being made
    local least
    for _ = 1, 10 do
      local cpu = forks.cpu()
      core.sleep(1)
      least = math.min(least or math.huge, forks.cpu() - cpu)
      if least < 0.05 then break end
    end
    assert.is_true(least < 0.05, ("expected no use of the processor by %d calls, found %g s"):format(#calls, least))
    client:close()
    server:close()
  end)

  it("is started by the first submit, not by a blocking call", function()
    local script = [[
      local crux = require "crux"
      local function threads()
        for line in io.lines("/proc/self/status") do
          local count = line:match("^Threads:%%s*(%%d+)")
          if count then return tonumber(count) end
        end
      end
      local client = crux.new{ token = "worker-spec-token", base_url = %q }
      local order = { order_uuid = %q }
      local before = threads()
      assert(client:cancel_order(order))
      assert(client:in_flight() == 0 and client:pollfd() and not client:step())
      local blocking = threads()
      client:submit("cancel_order", order):wait()
      print(blocking - before, threads() - before)
      client:close()
    ]]
    local server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
    if not io.open("/proc/self/status") then return pending("expected a /proc to count threads in") end
    -- ThreadSanitizer starts a thread of its own with the first
    assert.truthy(helper.child(script:format(server.base_url, helper.ORDER)):find("^0\t[12]$"))
    server:close()
  end)
end)

-- The limit is half a frame at 60 Hz. Time that other processes use is not counted, and the best of
-- three rounds is taken. `make bench` prints the percentiles.
describe("step never blocks the host #slow", function()
  -- a sanitizer makes everything many times slower
  local HALF_A_FRAME = helper.lua:find("/", 1, true) and 80000 or 8000

  it("during a name look-up, a handshake, a slow response, 1,000 calls, refreshes, logins and 429s", function()
    local found
    for _ = 1, 3 do
      local pipe = assert(io.popen(helper.lua .. " spec/bench/latency.lua machine 2>&1"))
      local text = pipe:read("*a")
      pipe:close()
      local rows, slow = 0, {}
      for line in text:gmatch("[^\n]+") do
        local held = tonumber(line:match(",([%d.]+)$"))
        assert.truthy(held, text)
        rows = rows + 1
        if held > HALF_A_FRAME then slow[#slow + 1] = line end
      end
      assert.equal(42, rows, text)
      found = table.concat(slow, "\n")
      if found == "" then return end
    end
    error("expected at most " .. HALF_A_FRAME .. " µs, found:\n" .. found, 0)
  end)
end)
