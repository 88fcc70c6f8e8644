-- crux fleet: orders go into a queue, workers send them, and the whole queue is told.
local command = require "spec.support.command"
local forks = require "spec.support.forks"
local process = require "spec.support.process"
local redis = require "spec.support.redis"

describe("crux fleet", function()
  local server, sandbox, place

  before_each(function()
    server = redis.start()
    sandbox = process.sandbox{ plain = true, orders = 30 }
    place = command.place(sandbox)
    place.env.CRUX_REDIS = server.url
  end)
  after_each(function()
    place:remove()
    sandbox:close()
    server:close()
  end)

  local function enqueue(count)
    place:path("orders.csv", "order_uuid\n" .. table.concat(sandbox.orders, "\n", 1, count) .. "\n")
    return place:run("fleet enqueue orders.csv --yes")
  end

  local function summary(ran)
    local objects = command.objects(ran.out)
    return objects[#objects], objects
  end

  it("adds orders, sends each once, and reports them", function()
    local ran = enqueue(30)
    assert.same({ 0, "30 orders added, 0 were there before\n" }, { ran.code, ran.out }, ran.err)
    assert.equal("0 orders added, 30 were there before\n", enqueue(30).out)
    assert.equal(5, place:run("fleet status").code)
    ran = place:run("fleet work --until-empty --json")
    assert.equal(0, ran.code, ran.err)
    local last, objects = summary(ran)
    assert.same({ "summary", 30, 0, 31 }, { last.type, last.counts.accepted, last.exit_code, #objects })
    for _, uuid in ipairs(sandbox.orders) do assert.equal(1, sandbox:record().cancels[uuid].received) end
    ran = place:run("fleet report --json")
    last, objects = summary(ran)
    assert.same({ 0, 31, "accepted", 30 }, { ran.code, #objects, objects[1].outcome, last.counts.accepted })
    assert.equal("30 orders: 30 accepted\n", place:run("fleet status").out)
    assert.equal(0, place:run("fleet reconcile").code)
  end)

  it("asks before it adds, and refuses bad rows", function()
    place:path("orders.csv", "order_uuid\n" .. sandbox.orders[1] .. "\n")
    local ran = place:run("fleet enqueue orders.csv")
    assert.equal(2, ran.code)
    assert.is_truthy(ran.err:find("expected a terminal to ask at", 1, true), ran.err)
    place:path("bad.csv", "order_uuid\nnonsense\n")
    ran = place:run("fleet enqueue bad.csv --yes")
    assert.equal(2, ran.code)
    assert.is_truthy(ran.err:find("bad.csv:2:", 1, true), ran.err)
    assert.equal("0 orders\n", place:run("fleet status").out)
  end)

  it("refuses a wrong command line", function()
    for words, message in pairs{
      ["fleet enqueue"] = "expected a FILE of orders", ["fleet work x"] = "expected no FILE for work",
      ["fleet nothing"] = "argument 'task' must be one of", ["fleet status --queue 'a b'"] = "--queue: expected a name",
      ["fleet status --redis http://x"] = "--redis: redis: expected a URL",
    } do
      local ran = place:run(words)
      assert.equal(2, ran.code, words)
      assert.is_truthy(ran.err:find(message, 1, true), ran.err)
    end
  end)

  it("says that Redis is down, or may forget", function()
    server:kill()
    local ran = place:run("fleet work")
    assert.equal(1, ran.code)
    assert.is_truthy(ran.err:find("refused", 1, true), ran.err)
    server:start()
    local client = server:client()
    assert(client:call("CONFIG", "SET", "appendfsync", "everysec"))
    client:close()
    ran = place:run("fleet work --until-empty")
    assert.equal(1, ran.code)
    assert.is_truthy(ran.err:find("expected appendfsync always", 1, true), ran.err)
    assert.equal(0, place:run("fleet work --until-empty --unsafe").code)
  end)

  it("ends with 4 where nobody is logged in, or the token is refused", function()
    enqueue(2)
    local ran = place:run("fleet work", { env = { CRUX_TOKEN = "" } })
    assert.equal(4, ran.code, ran.err)
    ran = place:run("fleet work", { env = { CRUX_TOKEN = sandbox.tokens.expired } })
    assert.equal(4, ran.code, ran.err)
    assert.is_truthy(ran.err:find("ended early (stop_on)", 1, true), ran.err)
    assert.is_truthy(place:run("fleet status").out:find("2 not_started", 1, true))
  end)

  it("has one login for all workers that have a name and a password", function()
    enqueue(2)
    local env = { CRUX_TOKEN = "", CRUX_USERNAME = "retailer", CRUX_PASSWORD = "retailer" }
    assert.equal(0, place:run("fleet work --until-empty", { env = env }).code)
    local client = server:client()
    local keys = client:call("KEYS", "crux:http*")
    assert.equal(1, #keys)
    local token = client:call("GET", keys[1])
    place:path("orders.csv", "order_uuid\n" .. sandbox.orders[3] .. "\n")
    place:run("fleet enqueue orders.csv --yes")
    assert.equal(0, place:run("fleet work --until-empty", { env = env }).code)
    assert.equal(token, client:call("GET", keys[1]))
    assert.equal(4, sandbox:record().requests) -- a login, and three orders
    client:close()
  end)

  it("ends with 1 where an order was rejected", function()
    place:path("orders.csv", "order_uuid\n" .. sandbox.shipped_order .. "\n")
    place:run("fleet enqueue orders.csv --yes")
    assert.equal(1, place:run("fleet work --until-empty").code)
    assert.equal(1, place:run("fleet report").code)
  end)

  it("ends cleanly on SIGTERM, and says what it leaves", function()
    place.env.CRUX_BASE_URL = sandbox.base_url .. "/~delay=100"
    enqueue(30)
    local terminal = place:terminal("fleet work --concurrency 2")
    terminal:expect("accepted")
    forks.kill(terminal.pid, 15)
    assert.equal(143, terminal:finish())
    assert.is_truthy(terminal.shown:find("crux fleet work  # sends the %d+ orders that are left"), terminal.shown)
    terminal:close()
    local last = summary(place:run("fleet status --json"))
    assert.same({ 0, 30 }, { last.counts.unknown, last.counts.accepted + last.counts.not_started })
    assert.equal(0, place:run("fleet work --until-empty").code)
    for _, uuid in ipairs(sandbox.orders) do assert.equal(1, sandbox:record().cancels[uuid].received) end
  end)

  it("looks at what is unknown", function()
    place.env.CRUX_BASE_URL = sandbox.base_url .. "/~drop=after"
    enqueue(1)
    local ran = place:run("fleet work --until-empty --timeout 0.5")
    assert.equal(3, ran.code, ran.err)
    local client = server:client()
    local key, uuid = "crux:orders:records", sandbox.orders[1]
    local text = client:call("HGET", key, uuid)
    client:call("HSET", key, uuid, (text:gsub('"lease":%d+', '"lease":0')))
    ran = place:run("fleet report")
    assert.equal(3, ran.code)
    -- reads are dropped as well
    assert.equal(3, place:run("fleet reconcile --timeout 1").code)
    client:call("SET", "crux:orders:service", (client:call("GET", "crux:orders:service"):gsub("/~drop=after", "")))
    place.env.CRUX_BASE_URL = sandbox.base_url
    ran = place:run("fleet reconcile --json")
    assert.equal(0, ran.code, ran.err)
    assert.equal(1, (summary(ran)).looked.cancelled)
    client:close()
  end)
end)
