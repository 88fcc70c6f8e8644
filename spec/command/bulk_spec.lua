-- Bulk runs: which orders are sent, what the journal keeps of them, and how a run ends early.
local Journal = require "crux.cli.journal"
local bulk = require "crux.cli.bulk"
local crux = require "crux"
local files = require "spec.support.files"
local helper = require "spec.helper"
local process = require "spec.support.process"
local tally = require "crux.cli.tally"

local ORDERS = 12

describe("a bulk run", function()
  local sandbox, path, client, journal

  before_each(function()
    sandbox, path = process.sandbox{ plain = true, orders = ORDERS }, os.tmpname()
    helper.watch(sandbox.tokens.retailer, sandbox.tokens.expired)
    os.remove(path)
  end)
  after_each(function()
    if journal then journal:close() end
    if client then client:close() end
    sandbox:close()
    if io.open(path) then helper.clean(files.read(path)) end
    os.remove(path)
    journal, client = nil, nil
  end)

  -- A client, and a journal of all orders.
  local function start(faults, options)
    options = options or {}
    options.base_url = sandbox.base_url .. (faults or "")
    options.token = options.token or sandbox.tokens.retailer
    client = assert(crux.new(options))
    local orders = {}
    for index, uuid in ipairs(sandbox.orders) do orders[index] = { order_uuid = uuid } end
    journal = assert(Journal.create(path, { base_url = options.base_url, api = "v1" }, orders))
  end

  local function reopen()
    journal:close()
    journal = assert(Journal.open(path, { lock = true }))
  end

  local function states()
    local names = {}
    for index = 1, journal:count() do names[index] = journal:state(index).name end
    return names
  end

  -- How many orders are in each state, and the same once the file is read again.
  local function count()
    local counts, before = {}, states()
    for _, name in ipairs(before) do counts[name] = (counts[name] or 0) + 1 end
    reopen()
    assert.same(before, states())
    return counts
  end

  local function received()
    local indices, cancels = {}, sandbox:record().cancels
    for index, uuid in ipairs(sandbox.orders) do
      if cancels[uuid] then indices[#indices + 1] = index end
    end
    return indices
  end

  it("sends each order once, and tells of each", function()
    start()
    local told, progress = {}, nil
    local result = bulk.run(journal, client, {
      concurrency = 3,
      on_result = function(index, arguments, answer, err)
        assert.is_nil(err)
        assert.equal(sandbox.orders[index], arguments.order_uuid)
        assert.equal("accepted", journal:state(index).name) -- it is in the journal by then
        told[#told + 1] = answer.status
      end,
      on_progress = function(done, total, counts) progress = { done, total, counts.accepted } end,
    })
    assert.same({}, result)
    assert.equal(ORDERS, #told)
    assert.same({ ORDERS, ORDERS, ORDERS }, progress)
    assert.same({ accepted = ORDERS }, count())
    assert.equal(0, tally.exit_code(tally.summary(journal)))
    assert.same({}, bulk.run(journal, client)) -- nothing is left
    for _, entry in pairs(sandbox:record().cancels) do assert.equal(1, entry.received) end
  end)

  it("sends what was not sent, not started, or refused for a token or for its rate", function()
    start()
    journal:begin{ timeout = 30 }
    journal:intend{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }
    for index, fields in ipairs{
      { outcome = "accepted", status = 204 }, { outcome = "rejected", status = 422 },
      { outcome = "rejected", status = 401 }, { outcome = "rejected", status = 429 },
      { outcome = "not_sent", kind = "dns" }, { outcome = "not_sent", kind = "auth" },
      { outcome = "not_sent", kind = "invalid" }, { outcome = "unknown", kind = "timeout" },
      { outcome = "not_started" }, { outcome = "unknown", kind = "timeout" },
    } do assert.is_true(journal:conclude(index, fields)) end
    journal:look(10, { looked = "open" })
    reopen()
    assert.equal(6, bulk.pending(journal))
    bulk.run(journal, client)
    assert.same({ 3, 4, 5, 6, 9, 12 }, received())
    assert.same({ accepted = 7, rejected = 1, invalid = 1, unknown = 1, open = 1, intent = 1 },
      count())
    -- the user's word
    assert.equal(1, bulk.pending(journal, true))
    bulk.run(journal, client, { resend_open = true })
    assert.same({ 3, 4, 5, 6, 9, 10, 12 }, received())
    assert.same({ accepted = 8, rejected = 1, invalid = 1, unknown = 1, intent = 1 }, count())
  end)

  it("writes the intents of the next orders while those before them are in flight", function()
    start("/~delay=20")
    bulk.run(journal, client, { concurrency = 4 })
    local kinds = {}
    for kind in files.read(path):gmatch('{"type":"(%l+)"') do
      if kind == "intent" or kind == "outcome" then kinds[#kinds + 1] = kind:sub(1, 1) end
    end
    local text = table.concat(kinds)
    local _, groups = text:gsub("i+", "")
    assert.equal("iiii", text:match("^i+"))
    assert.equal(ORDERS / 4, groups)
    for group in text:gmatch("i+") do assert.equal("iiii", group) end
    local before = text:match("^iiii(o*)i")
    assert.is_true(#before < 4, text)
  end)

  it("starts no more when it is asked to stop, and records what is in flight", function()
    start()
    local done = 0
    local result = bulk.run(journal, client, {
      concurrency = 4, on_result = function() done = done + 1 end,
      stopped = function() return done >= 3 and "once" or nil end,
      signal = function() return "SIGTERM" end,
    })
    assert.equal("interrupted", result.stopped)
    local counts = count()
    assert.is_true(counts.accepted >= 3 and counts.accepted < ORDERS, tostring(counts.accepted))
    assert.is_nil(counts.intent)
    assert.equal(ORDERS, counts.accepted + (counts.not_started or 0) + (counts.none or 0))
    assert.equal(counts.accepted, #received())
    assert.equal(143, tally.exit_code(tally.summary(journal)))
    bulk.run(journal, client)
    assert.equal(0, tally.exit_code(tally.summary(journal)))
  end)

  it("forgets a signal at its end once it is resumed, even if nothing is left", function()
    start()
    bulk.run(journal, client)
    journal:stop{ reason = "signal", signal = "SIGINT" }
    assert.equal(130, tally.exit_code(tally.summary(journal)))
    assert.is_nil(bulk.run(journal, client).failure)
    reopen()
    assert.equal(0, tally.exit_code(tally.summary(journal)))
  end)

  it("gives back the intents of what it has not started", function()
    start()
    local done = 0
    bulk.run(journal, client, {
      concurrency = 4, rate = 1000, on_result = function() done = done + 1 end,
      stopped = function() return done >= 1 and "once" or nil end,
    })
    local text = files.read(path)
    local _, intents = text:gsub('"type":"intent"', "")
    local _, outcomes = text:gsub('"type":"outcome"', "")
    assert.equal(intents, outcomes)
  end)

  it("ends what is in flight when it is asked a second time", function()
    start("/~delay=600000")
    local wish, asked = "once", 0
    local result = bulk.run(journal, client, {
      concurrency = 4,
      stopped = function()
        asked = asked + 1
        if asked < 20 then return nil end
        if #received() == 4 then wish = "twice" end
        return wish
      end,
      signal = function() return "SIGINT" end,
    })
    assert.equal("interrupted", result.stopped)
    assert.same({ unknown = 4, none = ORDERS - 4 }, count())
    assert.equal("aborted", journal:last_line(1).kind)
    assert.equal(130, tally.exit_code(tally.summary(journal)))
  end)

  it("ends a pause that the server has asked for when it is asked to stop", function()
    start("/~status=429,retry_after=200")
    local asked = 0
    local result = bulk.run(journal, client, {
      concurrency = 2,
      stopped = function()
        asked = asked + 1
        return asked > 30 and "once" or nil
      end,
    })
    assert.equal("interrupted", result.stopped)
    local counts = count()
    assert.is_true(counts.throttled >= 1)
    assert.equal(ORDERS, counts.throttled + (counts.not_started or 0) + (counts.none or 0))
  end)

  it("ends when nobody is logged in", function()
    start(nil, { token = sandbox.tokens.expired })
    local result = bulk.run(journal, client, { concurrency = 2 })
    assert.equal("stop_on", result.stopped)
    local counts = count()
    assert.is_true(counts.unauthorized >= 1)
    assert.equal(4, tally.exit_code(tally.summary(journal)))
    assert.equal("stop_on", journal.stopped.reason)
    client:close()
    client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer })
    bulk.run(journal, client)
    assert.same({ accepted = ORDERS }, count())
    assert.equal(0, tally.exit_code(tally.summary(journal)))
  end)

  it("ends after so many failures in a row", function()
    start("/~drop=after", { retries = 0 })
    local result = bulk.run(journal, client, { concurrency = 1, stop_after = 3 })
    assert.equal("max_failures", result.stopped)
    local counts = count()
    assert.equal(3, counts.unknown)
    assert.equal(3, tally.exit_code(tally.summary(journal)))
  end)

  it("records what is in flight before it raises an error of on_result", function()
    start()
    local ok, why = pcall(bulk.run, journal, client, {
      concurrency = 4, on_result = function() error("no paper", 0) end,
    })
    assert.is_false(ok)
    assert.equal("no paper", why)
    local counts = count()
    assert.is_nil(counts.intent)
    assert.equal(#received(), counts.accepted)
    assert.equal(5, tally.exit_code(tally.summary(journal)))
  end)

  it("keeps of a failure what a report needs", function()
    start("/~status=422")
    bulk.run(journal, client, { concurrency = 4 })
    reopen()
    local rows = 0
    for row in tally.rows(journal) do
      rows = rows + 1
      assert.equal("rejected", row.outcome)
      assert.equal("422", tostring(row.status))
      assert.equal("http", row.kind)
      assert.is_truthy(row.message:find("HTTP 422", 1, true), row.message)
      assert.is_truthy(row.hint)
      assert.equal(sandbox.orders[rows], row.order_uuid)
    end
    assert.equal(ORDERS, rows)
    assert.equal(1, tally.exit_code(tally.summary(journal)))
  end)

  it("refuses options that a batch refuses, before anything is sent", function()
    start()
    local result, err = bulk.run(journal, client, { rate = -1 })
    assert.is_nil(result)
    assert.equal("invalid", err.kind)
    assert.same({}, received())
    assert.same({ none = ORDERS }, count())
  end)
end)

describe("the exit code of a journal", function()
  local function code(fields, stopped)
    local summary = { pending = 0, unknown = 0, unauthorized = 0, failed = 0, stopped = stopped }
    for name, value in pairs(fields) do summary[name] = value end
    return tally.exit_code(summary)
  end

  it("is the first that fits", function()
    local all = { pending = 1, unknown = 1, unauthorized = 1, failed = 1 }
    for signal, number in pairs{ SIGHUP = 129, SIGINT = 130, SIGTERM = 143 } do
      assert.equal(number, code(all, { reason = "signal", signal = signal }))
    end
    assert.equal(3, code(all, { reason = "max_failures" }))
    assert.equal(4, code{ pending = 1, unauthorized = 1, failed = 1 })
    assert.equal(5, code{ pending = 1, failed = 1 })
    assert.equal(1, code{ failed = 1 })
    assert.equal(0, code{})
  end)
end)
