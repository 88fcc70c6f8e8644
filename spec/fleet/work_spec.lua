-- Workers of a fleet: what they send, record, give back and wait for.
local Fleet = require "crux.fleet"
local core = require "crux.core"
local crux = require "crux"
local process = require "spec.support.process"
local redis = require "spec.support.redis"

describe("a fleet", function()
  local server, sandbox, client, fleet, raw

  setup(function() server = redis.start() end)
  teardown(function() server:close() end)
  before_each(function()
    raw = server:client()
    assert(raw:call("FLUSHALL"))
    sandbox = process.sandbox{ plain = true, orders = 40 }
  end)
  after_each(function()
    if client then client:close() end
    if fleet then fleet:close() end
    client, fleet = nil, nil
    raw:close()
    sandbox:close()
  end)

  local function new(options, path)
    options = options or {}
    options.base_url, options.token = sandbox.base_url .. (path or ""), options.token or sandbox.tokens.retailer
    options.timeout = options.timeout or 20
    client = assert(crux.new(options))
    fleet = assert(Fleet.new{ redis = server.url, client = client })
    return fleet
  end

  local function enqueue(count)
    local items = {}
    for i = 1, count do items[i] = { order_uuid = sandbox.orders[i] } end
    return assert(fleet:enqueue(items))
  end

  local function work(options)
    options = options or {}
    if options.until_empty == nil then options.until_empty = true end
    return assert(fleet:work(options))
  end

  local function states()
    local found = {}
    for name, count in pairs(assert(fleet:status()).states) do
      if count > 0 then found[name] = count end
    end
    return found
  end

  local function rows()
    local found = {}
    assert(fleet:results(function(row) found[row.order_uuid] = row end))
    return found
  end

  it("sends each order once, however often it is added", function()
    new()
    assert.same({ added = 40, known = 0, invalid = {} }, enqueue(40))
    assert.equal(40, enqueue(40).known)
    local seen = 0
    local report = work{ concurrency = 5, on_result = function(_, arguments, result)
      assert.is_truthy(arguments.order_uuid and result)
      seen = seen + 1
    end }
    assert.same({ 40, 40, 0 }, { report.counts.accepted, seen, report.unrecorded })
    assert.is_nil(report.stopped)
    for _, uuid in ipairs(sandbox.orders) do assert.equal(1, sandbox:record().cancels[uuid].received) end
    assert.same({ accepted = 40 }, states())
    assert.equal(40, enqueue(40).known)
    work()
    assert.equal(1, sandbox:record().cancels[sandbox.orders[1]].received)
    assert.equal(204, rows()[sandbox.orders[1]].status)
  end)

  it("checks orders before it adds them", function()
    new()
    local report = assert(fleet:enqueue{
      { order_uuid = "x" }, 5, { order_uuid = sandbox.orders[1], retries = 0 },
      { order_uuid = sandbox.orders[2], skus = { { supplier_uuid = sandbox.orders[1], quantity = 2 } } },
    })
    assert.same({ 1, 3 }, { report.added, #report.invalid })
    assert.same({ 1, "order_uuid" }, { report.invalid[1].index, report.invalid[1].err.field })
    assert.equal("retries", report.invalid[3].err.field)
  end)

  it("records what a server refuses, and does not send it again", function()
    new()
    assert(fleet:enqueue{ { order_uuid = sandbox.shipped_order } })
    assert.equal(1, work().counts.rejected)
    assert.same({ "rejected", 422 }, { rows()[sandbox.shipped_order].outcome, rows()[sandbox.shipped_order].status })
  end)

  it("queues what was not sent again, at most ten times, and pauses", function()
    new{ retries = 0 }
    enqueue(1)
    sandbox:kill()
    local began, pauses = core.now(), 0
    local report = work{ stopped = function()
      pauses = math.floor(core.now() - began)
      return pauses >= 3 and "once" or nil
    end }
    assert.equal(2, report.queued_again) -- after 1 s, and 2 s later
    assert.same({ queued = 1 }, states())
  end)

  it("ends an order as not_sent after ten tries", function()
    new{ retries = 0 }
    enqueue(1)
    local uuid = sandbox.orders[1]
    local text = raw:call("HGET", fleet.keys[1], uuid)
    raw:call("HSET", fleet.keys[1], uuid, (text:gsub('"tries":0', '"tries":9')))
    sandbox:kill()
    work()
    assert.same({ "not_sent", "connect" }, { rows()[uuid].outcome, rows()[uuid].kind })
  end)

  it("stops at a refused token, and gives the order back", function()
    new{ token = sandbox.tokens.expired }
    enqueue(3)
    local report = work{ concurrency = 1 }
    assert.same({ "stop_on", "auth", 1 }, { report.stopped, report.stopped_by.kind, report.queued_again })
    assert.same({ queued = 3 }, states())
  end)

  it("keeps orders that cannot be read as not_sent", function()
    new()
    enqueue(3)
    for i, arguments in ipairs{ "nonsense", "{}" } do
      local uuid = sandbox.orders[i]
      local text = raw:call("HGET", fleet.keys[1], uuid)
      raw:call("HSET", fleet.keys[1], uuid, (text:gsub('"arguments":".-}"', function() return '"arguments":"' .. arguments .. '"' end)))
    end
    raw:call("XADD", fleet.keys[2], "*", "x", "y")
    work()
    assert.same({ accepted = 1, not_sent = 3 }, states())
    assert.equal("unreadable", rows()[sandbox.orders[1]].kind)
    assert.equal("invalid", rows()[sandbox.orders[2]].kind)
  end)

  it("sends nothing of a purged queue", function()
    new()
    enqueue(5)
    raw:call("DEL", fleet.keys[1])
    work()
    assert.same({}, sandbox:record().cancels)
    assert.is_true(fleet:purge())
    assert.same({}, states())
  end)

  it("keeps two queues apart", function()
    new()
    local other = assert(Fleet.new{ redis = server.url, client = client, queue = "other" })
    enqueue(2)
    assert(other:enqueue{ { order_uuid = sandbox.orders[3] } })
    work()
    assert.same({ 2, 1 }, { fleet:status().states.accepted, other:status().states.queued })
    other:close()
  end)

  it("refuses a queue of another service", function()
    new()
    enqueue(1)
    fleet:close()
    client:close()
    new{}
    client = assert(crux.new{ base_url = sandbox.base_url .. "/other", token = "t" })
    fleet = assert(Fleet.new{ redis = server.url, client = client })
    local report, err = fleet:work{}
    assert.is_nil(report)
    assert.equal("queue", err.field)
  end)

  it("holds to the rate of the fleet", function()
    new()
    enqueue(30)
    local began = core.now()
    work{ rate = 50, burst = 1 }
    assert.is_true(core.now() - began >= 29 / 50)
  end)

  it("pauses all workers after a 429, and sends the order again", function()
    new({ retries = 0 }, "/~status=429,retry_after=1,times=1")
    enqueue(3)
    local began, paused = core.now(), nil
    local report = work{ concurrency = 1, on_result = function(_, _, result)
      if result and not paused then paused = core.now() - began end
    end }
    assert.same({ 1, 3 }, { report.queued_again, report.counts.accepted })
    assert.is_true(paused >= 1, paused)
    assert.is_truthy(raw:call("HGET", fleet.limit[1], "paused"))
    local received = 0
    for _, entry in pairs(sandbox:record().cancels) do received = received + entry.received end
    assert.equal(4, received)
  end)

  it("takes no order while the fleet pauses", function()
    new()
    enqueue(1)
    local ends = tonumber(raw:call("TIME")[1]) + 1
    raw:call("HSET", fleet.limit[1], "paused", ("%.0f"):format(ends * 1e6))
    work()
    assert.is_true(tonumber(raw:call("TIME")[1]) >= ends)
  end)

  it("raises what on_result raises, once all that was sent is recorded", function()
    new()
    enqueue(20)
    assert.error(function()
      work{ concurrency = 4, on_result = function() error("mine", 0) end }
    end, "mine")
    local found = states()
    assert.is_nil(found.sending)
    assert.is_true(found.accepted >= 1 and found.accepted <= 5, found.accepted)
    local sent = 0
    for _ in pairs(sandbox:record().cancels) do sent = sent + 1 end
    assert.equal(found.accepted, sent)
  end)

  it("leaves no name of a worker that ended in Redis, and gives back what it had read", function()
    new()
    enqueue(40)
    local function names()
      local found = {}
      for i, consumer in ipairs(assert(raw:call("XINFO", "CONSUMERS", fleet.keys[2], "workers"))) do
        found[i] = consumer[2]
      end
      return found
    end
    local results = 0
    work{
      concurrency = 2, rate = 1000, on_result = function() results = results + 1 end,
      stopped = function() return results > 0 and "once" or nil end,
    }
    assert.same({ "given-back" }, names())
    assert.is_true(raw:call("XPENDING", fleet.keys[2], "workers")[1] > 0)
    work{ rate = 1000 }
    assert.same({ accepted = 40 }, states())
    assert.same({ "given-back" }, names())
    for i, field in ipairs(raw:call("HKEYS", fleet.limit[1])) do
      assert.is_nil(field:find("worker", 1, true), i)
    end
  end)

  it("looks at unknown orders once their lease is over", function()
    new{ timeout = 0.2, retries = 0 }
    enqueue(2)
    local function claim(uuid)
      local text = raw:call("HGET", fleet.keys[1], uuid)
      raw:call("HSET", fleet.keys[1], uuid, (text:gsub('"state":"queued"', '"state":"sending","at":1,"lease":1')))
    end
    claim(sandbox.orders[1])
    claim(sandbox.orders[2])
    assert(client:cancel_order{ order_uuid = sandbox.orders[2], timeout = 20 })
    local shown = {}
    local report = assert(fleet:reconcile{
      on_result = function(uuid, found, err) shown[uuid] = found and found.state or tostring(err) end,
    })
    assert.same({ [sandbox.orders[1]] = "open", [sandbox.orders[2]] = "cancelled" }, shown)
    assert.same({ 1, 1, 0 }, { report.looked.open, report.looked.cancelled, report.failed })
    assert.same({ "unknown", "open" }, { rows()[sandbox.orders[1]].outcome, rows()[sandbox.orders[1]].looked })
    assert.same({ cancelled = 1, partial = 0, open = 1, closed = 0 }, fleet:status().looked)
    assert.equal(0, fleet:status().left)
  end)

  describe("with a token cache in Redis", function()
    local cache

    before_each(function() cache = assert(Fleet.token_cache{ redis = server.url }) end)

    local function read()
      local own = assert(crux.new{
        base_url = sandbox.base_url, username = "retailer", password = "retailer", token_cache = cache,
      })
      local result, err = own:get_order{ order_uuid = sandbox.orders[1] }
      own:close()
      return (result or err).outcome
    end

    local function requests() return sandbox:record().requests end

    it("has one login for all clients", function()
      assert.equal("accepted", read())
      local before = requests()
      assert.equal("accepted", read())
      assert.equal(before + 1, requests())
    end)

    it("adds a value that is not there, for a while", function()
      assert.is_true(cache:add("k", "1", 60))
      assert.same({ false, "exists" }, { cache:add("k", "2", 60) })
      assert.equal("1", cache:get("k"))
      assert.is_true(cache:set("k", "0", 0.001))
      core.sleep(0.01)
      assert.is_nil(cache:get("k"))
    end)

    it("logs in where Redis cannot be reached", function()
      cache = assert(Fleet.token_cache{ redis = "redis://127.0.0.1:1" })
      assert.equal("accepted", read())
    end)
  end)
end)
