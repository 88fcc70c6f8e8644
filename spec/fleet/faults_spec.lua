-- A fleet when something is lost: replies, Redis, time, memory, records.
local Fleet = require "crux.fleet"
local cjson = require("cjson").new()
local core = require "crux.core"
local crux = require "crux"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local scripts = require "crux.fleet.scripts"
local transport = require "crux.fleet.transport"

local quoted = files.quoted

describe("a fleet in trouble", function()
  local server, sandbox, client, fleet, raw, workers

  before_each(function()
    server, workers = redis.start{ "--enable-debug-command yes" }, {}
    sandbox = process.sandbox{ plain = true, orders = 120 }
    client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer, timeout = 20 })
    fleet = assert(Fleet.new{ redis = server.url, client = client })
    raw = server:client()
  end)
  after_each(function()
    for _, worker in ipairs(workers) do
      forks.kill(worker.pid, 9)
      worker.pipe:close()
    end
    raw:close()
    fleet:close()
    client:close()
    sandbox:close()
    server:close()
  end)

  local function enqueue(from, to)
    local items = {}
    for i = from, to do items[#items + 1] = { order_uuid = sandbox.orders[i] } end
    return fleet:enqueue(items)
  end

  -- The same fleet, with answers that take longer.
  local function with(faults)
    client:close()
    fleet:close()
    client = assert(crux.new{ base_url = sandbox.base_url .. faults, token = sandbox.tokens.retailer, timeout = 20 })
    fleet = assert(Fleet.new{ redis = server.url, client = client })
  end

  local function received(uuid)
    local entry = sandbox:record().cancels[uuid]
    return entry and entry.received or 0
  end

  local function record(uuid) return cjson.decode((assert(raw:call("HGET", fleet.keys[1], uuid)))) end

  local function left()
    return { assert(raw:call("XLEN", fleet.keys[2])), assert(raw:call("XPENDING", fleet.keys[2], "workers"))[1] }
  end

  -- A worker in a process of its own.
  local function start(values, faults)
    local pipe = assert(io.popen(("echo $$; CRUX_BASE_URL=%s CRUX_TOKEN=%s exec %s spec/support/fleet_worker.lua %s tell=1 %s 2>&1"):format(
      quoted(sandbox.base_url .. (faults or "")), sandbox.tokens.retailer, os.getenv "TEST_LUA" or "lua5.4",
      quoted(server.url), values)))
    workers[#workers + 1] = { pid = tonumber(pipe:read("*l")), pipe = pipe }
    return workers[#workers]
  end

  local function wait_for(condition)
    for _ = 1, 3000 do
      if condition() then return end
      core.sleep(0.01)
    end
    error("expected something to happen, found that it did not", 2)
  end

  local function is_stopped(worker)
    return files.read(("/proc/%d/stat"):format(worker.pid)):match("%) (%a)") == "T"
  end

  -- Has the replies of some pipelines be lost, after Redis has carried them out.
  local function losing(first, count, run)
    local connect, sends = transport.connect, 0
    transport.connect = function(target)
      local socket, why = connect(target)
      if not socket then return nil, why end
      local is_lost = false
      return {
        send = function(_, bytes)
          if bytes ~= "" then sends = sends + 1 end
          is_lost = bytes ~= "" and sends >= first and sends < first + count
          return socket:send(bytes)
        end,
        receive = function(_, what)
          if not is_lost then return socket:receive(what) end
          socket:receive("*l") -- it was carried out
          return nil, "closed"
        end,
        close = function() socket:close() end,
      }
    end
    local ok, why = pcall(run)
    transport.connect = connect
    assert(ok, why)
    return sends
  end

  it("sends each order once, whichever replies of Redis are lost", function()
    local order = 0
    for count = 1, 2 do
      local first, sends = 0
      repeat
        first, order = first + 1, order + 1
        assert(raw:call("FLUSHALL"))
        fleet:close()
        sends = losing(first, count, function()
          local added, report
          for _ = 1, 3 do added = added or enqueue(order, order) end
          assert.equal(1, added.added + added.known)
          for _ = 1, 3 do report = report or fleet:work{ until_empty = true } end
          assert.same({ nil, 0 }, { report.stopped, report.unrecorded })
        end)
        local uuid, where = sandbox.orders[order], ("%d lost from the %dth"):format(count, first)
        assert.same({ 1, "accepted" }, { received(uuid), record(uuid).state }, where)
        assert.same({ 0, 0 }, left(), where)
      until first > sends
      assert.is_true(first > 8, first)
    end
  end)

  it("looks at each unknown order, whichever replies of Redis are lost", function()
    local order = 0
    -- An order whose worker has gone, and whose lease is over.
    local function left_behind()
      order = order + 1
      assert(enqueue(order, order))
      local read = raw:call("XREADGROUP", "GROUP", "workers", "gone", "COUNT", "1", "STREAMS", fleet.keys[2], ">")
      assert(raw:call{
        script = scripts.claim, keys = fleet.keys, read[1][2][1][1], sandbox.orders[order], "c", 0,
      })
      return sandbox.orders[order]
    end
    for count = 1, 2 do
      local first, sends = 0
      repeat
        first = first + 1
        assert(raw:call("FLUSHALL"))
        local cancelled, open = left_behind(), left_behind()
        assert(client:cancel_order{ order_uuid = cancelled })
        fleet:close()
        local report
        sends = losing(first, count, function()
          for _ = 1, 3 do report = report or fleet:reconcile() end
        end)
        local where = ("%d lost from the %dth"):format(count, first)
        assert.is_truthy(report, where)
        assert.same({ "unknown", "cancelled", 1 },
          { record(cancelled).state, record(cancelled).looked, received(cancelled) }, where)
        assert.same({ "unknown", "open", 0 }, { record(open).state, record(open).looked, received(open) }, where)
        local status = fleet:status()
        assert.same({ 2, 2, 0 }, { status.orders, status.states.unknown, status.states.sending }, where)
        assert.same({ cancelled = 1, partial = 0, open = 1, closed = 0 }, status.looked, where)
        assert.same({ 0, 0 }, left(), where)
      until first > sends
      assert.is_true(first > 8, first)
    end
  end)

  it("purges a queue, and keeps its fence, whichever replies of Redis are lost", function()
    for count = 1, 2 do
      local first, sends = 0
      repeat
        first = first + 1
        assert(enqueue(1, 1))
        assert(raw:call("SET", fleet.keys[4], first))
        fleet:close()
        local is_purged
        sends = losing(first, count, function()
          for _ = 1, 3 do is_purged = is_purged or fleet:purge() end
        end)
        local where = ("%d lost from the %dth"):format(count, first)
        assert.same({ true, tostring(first) }, { is_purged, raw:call("GET", fleet.keys[4]) }, where)
        assert.same({ fleet.keys[4] }, raw:call("KEYS", "*"), where)
      until first > sends
      assert.is_true(first > 1, first)
    end
  end)

  it("keeps outcomes while Redis is away, and goes on when it is back", function()
    assert(enqueue(1, 40))
    local results, killed, was_down = 0, nil, false
    local report = assert(fleet:work{
      until_empty = true, concurrency = 4,
      on_result = function()
        results = results + 1
        if results ~= 10 then return end
        server:kill()
        killed = core.now()
      end,
      stopped = function()
        if killed and core.now() > killed + 0.3 then
          was_down, killed = true, nil
          server:start()
        end
      end,
    })
    assert.same({ 40, 0, true }, { report.counts.accepted, report.unrecorded, was_down })
    for i = 1, 40 do assert.equal(1, received(sandbox.orders[i])) end
    assert.same({ 0, 0 }, left())
  end)

  it("ends without Redis after so long, and tells how many outcomes it could not record", function()
    assert(enqueue(1, 1))
    local report = assert(fleet:work{ patience = 0.2, on_result = function() server:kill() end })
    assert.same({ "redis", 1 }, { report.stopped, report.unrecorded })
    assert.is_truthy(report.stopped_by:find("refused", 1, true), report.stopped_by)
    server:start()
    assert.equal("sending", record(sandbox.orders[1]).state)
  end)

  it("waits for a Redis that is slow", function()
    assert(enqueue(1, 10))
    fleet:close()
    fleet = assert(Fleet.new{ redis = server.url, client = client, timeout = 0.1 })
    local slow = assert(transport.connect{ host = "127.0.0.1", port = server.port, timeout = 5 })
    local is_slow = false
    local report = assert(fleet:work{
      until_empty = true, concurrency = 2,
      on_result = function()
        if not is_slow then slow:send("DEBUG SLEEP 0.5\r\n") end
        is_slow = true
      end,
    })
    slow:close()
    assert.same({ 10, 0 }, { report.counts.accepted, report.unrecorded })
    for i = 1, 10 do assert.equal(1, received(sandbox.orders[i])) end
  end)

  it("sends nothing while Redis is full, and goes on later", function()
    assert(enqueue(1, 3))
    local full_since, sent = nil, nil
    local report = assert(fleet:work{
      until_empty = true, concurrency = 1,
      on_result = function(index)
        if index > 1 then return end
        assert(raw:call("CONFIG", "SET", "maxmemory", "1mb"))
        full_since = core.now()
      end,
      stopped = function()
        if not full_since or core.now() < full_since + 0.3 then return end
        sent = received(sandbox.orders[2]) + received(sandbox.orders[3])
        full_since = nil
        local added, err = enqueue(4, 5)
        assert.is_nil(added)
        assert.is_truthy(tostring(err):find("OOM", 1, true))
        assert(raw:call("CONFIG", "SET", "maxmemory", "0"))
      end,
    })
    assert.same({ 3, 0, 0 }, { report.counts.accepted, report.unrecorded, sent })
    assert.same({ 0, 0 }, left())
  end)

  it("sends nothing once the records are purged under it", function()
    assert(enqueue(1, 40))
    local report = assert(fleet:work{
      until_empty = true, concurrency = 1,
      on_result = function(index)
        if index == 5 then assert(raw:call("DEL", fleet.keys[1])) end
      end,
    })
    local sent = 0
    for i = 1, 40 do sent = sent + received(sandbox.orders[i]) end
    assert.same({ 5, 5 }, { sent, report.counts.accepted })
    assert.equal("unknown", record(sandbox.orders[40]).state)
  end)

  it("goes on with an empty queue once the queue is purged under it", function()
    assert(enqueue(1, 40))
    local report = assert(fleet:work{
      until_empty = true, concurrency = 1,
      on_result = function(index)
        if index == 5 then assert(fleet:purge()) end
        if index == 5 then assert(enqueue(41, 42)) end
      end,
    })
    local sent = 0
    for i = 1, 40 do sent = sent + received(sandbox.orders[i]) end
    assert.same({ 5, 7, 0 }, { sent, report.counts.accepted, report.unrecorded })
    assert.same({ 0, 0 }, left())
    assert.equal(2, fleet:status().states.accepted)
  end)

  for _, place in ipairs{ "claim", "attempt" } do
    it(("sends nothing of a claim whose time is over after a SIGSTOP at its %s"):format(place), function()
      assert(enqueue(1, 1))
      local uuid = sandbox.orders[1]
      local worker = start("timeout=0.5 until_empty=1 stop_at=" .. place)
      wait_for(function() return record(uuid).state == "sending" and is_stopped(worker) end)
      core.sleep(0.6)
      assert.equal(0, received(uuid))
      forks.kill(worker.pid, 18) -- SIGCONT
      local said = worker.pipe:read("*a")
      assert.is_truthy(said:find("ended\t1\t0"), said)
      -- what was sent belongs to a second claim
      assert.same({ 1, 2, "accepted" }, { received(uuid), record(uuid).fence, record(uuid).state })
    end)
  end

  -- Each of the stops is shorter than the time limit of a call; both together are not.
  it("counts the time of a claim from the claim, and not from the call", function()
    assert(enqueue(1, 1))
    local uuid = sandbox.orders[1]
    local worker = start("timeout=3 until_empty=1 stop_at=claim,attempt")
    for _ = 1, 2 do
      wait_for(function() return record(uuid).state == "sending" and is_stopped(worker) end)
      core.sleep(1.6)
      forks.kill(worker.pid, 18)
      core.sleep(0.05)
    end
    local said = worker.pipe:read("*a")
    assert.is_truthy(said:find("ended\t1\t0"), said)
    assert.same({ 1, 2, "accepted" }, { received(uuid), record(uuid).fence, record(uuid).state })
  end)

  it("never sends the order of a worker again that was killed after it had sent it", function()
    with "/~delay_after=300"
    assert(enqueue(1, 1))
    local uuid = sandbox.orders[1]
    local worker = start("timeout=20", "/~delay_after=300")
    wait_for(function() return received(uuid) == 1 end)
    forks.kill(worker.pid, 9)
    local entry = record(uuid).entry -- as if its lease was over
    assert.same({ entry }, raw:call("XCLAIM", fleet.keys[2], "workers", "gone", "0", entry, "IDLE", "60000", "JUSTID"))
    local report = assert(fleet:work{ until_empty = true })
    assert.same({ 0, 1, "unknown" }, { report.counts.accepted, received(uuid), record(uuid).state })
    assert.same({ 0, 0 }, left())
  end)

  it("records the late outcome of a worker that was stopped longer than its lease", function()
    with "/~delay_after=300"
    assert(enqueue(1, 1))
    local uuid = sandbox.orders[1]
    local worker = start("timeout=20 until_empty=1", "/~delay_after=300")
    wait_for(function() return received(uuid) == 1 end)
    forks.kill(worker.pid, 19)
    local kept = record(uuid)
    kept.lease = 0 -- as if it was over
    assert(raw:call("HSET", fleet.keys[1], uuid, cjson.encode(kept)))
    assert.equal(1, fleet:reconcile().looked.cancelled)
    assert.same({ "unknown", "cancelled" }, { record(uuid).state, record(uuid).looked })
    forks.kill(worker.pid, 18)
    local said = worker.pipe:read("*a")
    assert.is_truthy(said:find("ended\t1\t0"), said)
    assert.same({ "accepted", nil, 1 }, { record(uuid).state, record(uuid).looked, received(uuid) })
    assert.equal(0, fleet:status().looked.cancelled)
  end)

  it("ends cleanly on SIGTERM, and gives back what it has not sent", function()
    with "/~delay=50"
    assert(enqueue(1, 40))
    local worker = start("timeout=20 concurrency=2", "/~delay=50")
    wait_for(function() return received(sandbox.orders[3]) == 1 end)
    forks.kill(worker.pid, 15)
    local said = worker.pipe:read("*a")
    assert.is_truthy(said:find("ended\t%d+\t0\tinterrupted"), said)
    local states = fleet:status().states
    assert.same({ 0, 0, 40 }, { states.sending, states.unknown, states.accepted + states.queued })
    -- another worker takes them at once, those too that the first had read
    local report = assert(fleet:work{ until_empty = true })
    assert.equal(states.queued, report.counts.accepted)
    for i = 1, 40 do assert.equal(1, received(sandbox.orders[i])) end
  end)
end)
