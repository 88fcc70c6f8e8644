-- Looking at orders whose outcome is unknown: which are read, when, and what is recorded.
local Journal = require "crux.cli.journal"
local crux = require "crux"
local files = require "spec.support.files"
local process = require "spec.support.process"
local reconcile = require "crux.cli.reconcile"
local tally = require "crux.cli.tally"

describe("a reconciliation", function()
  local sandbox, path, client, journal

  before_each(function()
    sandbox, path = process.sandbox{ plain = true, orders = 6 }, os.tmpname()
    client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer })
    os.remove(path)
  end)
  after_each(function()
    if journal then journal:close() end
    client:close()
    sandbox:close()
    os.remove(path)
  end)

  -- A journal of these orders, each with an intent, in a run with a time limit of 5 s.
  local function start(uuids)
    local orders = {}
    for index, uuid in ipairs(uuids) do orders[index] = { order_uuid = uuid } end
    journal = assert(Journal.create(path, { base_url = sandbox.base_url, api = "v1" }, orders))
    journal:begin{ timeout = 5 }
    local indices = {}
    for index = 1, #uuids do indices[index] = index end
    journal:intend(indices)
  end

  -- Opens the journal again, as if all in it had happened so many seconds earlier.
  local function age(seconds)
    journal:close()
    files.write(path, (files.read(path):gsub('"time":(%d+)', function(time)
      return ('"time":%d'):format(time - seconds)
    end)))
    journal = assert(Journal.open(path, { lock = true }))
  end

  local function states()
    local names = {}
    for index = 1, journal:count() do names[index] = journal:state(index).name end
    return names
  end

  -- How long a reconciliation would wait. It is ended at once.
  local function wait_of()
    local seconds
    local result = reconcile(journal, client, {
      on_wait = function(left) seconds = left end, stopped = function() return "once" end,
    })
    return seconds, result.stopped
  end

  it("records what the orders show, and reads those that are open again", function()
    local orders = sandbox.orders
    assert(client:cancel_order{ order_uuid = orders[1] })
    local nobodys = "54a31ec5-b0be-4a92-af4c-000000000000"
    start{ orders[1], orders[2], sandbox.shipped_order, nobodys, orders[3], orders[4] }
    journal:conclude(5, { outcome = "accepted", status = 204 })
    journal:conclude(6, { outcome = "unknown", status = 502, kind = "http", message = "HTTP 502" })
    age(100)
    local told = {}
    local result = assert(reconcile(journal, client, {
      on_wait = function() error("expected no wait") end,
      on_result = function(index, arguments, shown, err)
        told[index] = shown and shown.state or err.status
        assert.equal(journal:arguments(index).order_uuid, arguments.order_uuid)
      end,
    }))
    assert.is_nil(result.stopped)
    assert.same({ "cancelled", "open", "closed", 422, nil, "open" }, told)
    local expected = { "cancelled", "open", "closed", "intent", "accepted", "open" }
    assert.same(expected, states())
    age(0)
    assert.same(expected, states())
    local row = tally.row(journal, 6)
    assert.same({ "unknown", "502", "open" }, { row.outcome, tostring(row.status), row.looked })
    local summary = tally.summary(journal)
    assert.same({ cancelled = 1, partial = 0, open = 2, closed = 1 }, summary.looked)
    assert.equal(3, tally.exit_code(summary))
    assert(client:cancel_order{ order_uuid = orders[2] })
    assert(client:cancel_order{ order_uuid = orders[4] })
    reconcile(journal, client, { on_wait = function() error("expected no wait") end })
    assert.same({ "cancelled", "cancelled", "closed", "intent", "accepted", "cancelled" }, states())
  end)

  it("waits until no request can be on the way: the time limit of a call, and 10 s", function()
    start{ sandbox.orders[1] }
    for _, kind in ipairs{ "without an outcome", "with an unknown one" } do
      local seconds, stopped = wait_of()
      assert.equal("interrupted", stopped, kind)
      assert.is_true(seconds > 10 and seconds <= 15, kind .. ": " .. tostring(seconds))
      if journal:state(1).name == "intent" then
        journal:conclude(1, { outcome = "unknown", kind = "timeout", intent = os.time() })
      end
    end
    assert.same({}, sandbox:record().cancels)
    assert.same({ "unknown" }, states())
  end)

  it("waits no longer than that, if the clock was set back", function()
    start{ sandbox.orders[1] }
    age(-86400)
    local seconds = wait_of()
    assert.equal(15, math.floor(seconds))
  end)

  it("counts from the last sign of life of a run, if there is no outcome", function()
    start{ sandbox.orders[1] }
    age(100)
    journal:beat() -- the run was silent for long
    journal:beat()
    local _, beats = files.read(path):gsub('"type":"alive"', "")
    assert.equal(1, beats)
    local seconds = wait_of()
    assert.is_true(seconds and seconds > 10)
  end)

  it("sends nothing that changes anything", function()
    start(sandbox.orders)
    age(100)
    reconcile(journal, client)
    assert.same({}, sandbox:record().cancels)
    assert.same({ "open", "open", "open", "open", "open", "open" }, states())
  end)
end)
