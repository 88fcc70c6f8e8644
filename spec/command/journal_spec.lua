-- The journal of a bulk run: what it refuses, what it cuts off, and what it tells.
local Journal = require "crux.cli.journal"
local files = require "spec.support.files"
local helper = require "spec.helper"

local HEADER = { base_url = "https://127.0.0.1", api = "v1", account = "retailer" }

local function uuid(index) return ("54a31ec5-b0be-4a92-af4c-%012d"):format(index) end

local function orders(count)
  local list = {}
  for index = 1, count do list[index] = { order_uuid = uuid(index) } end
  return list
end

describe("a journal", function()
  local directory, path

  before_each(function()
    directory = files.lines("mktemp -d")[1]
    path = directory .. "/orders.journal"
  end)
  after_each(function() os.execute("chmod -R u+w " .. directory .. " && rm -r " .. directory) end)

  local function create(count) return assert(Journal.create(path, HEADER, orders(count))) end

  -- Opens it, and closes it again. Returns the states of its orders.
  local function states(options)
    local journal = assert(Journal.open(path, options))
    local names = {}
    for index = 1, journal:count() do names[index] = journal:state(index).name end
    journal:close()
    return names
  end

  local function refusal(options)
    local journal, message, why = Journal.open(path, options)
    assert.is_nil(journal)
    assert.is_truthy(message:find(path, 1, true), message)
    return why, message
  end

  it("keeps the orders, which a list or a function gives", function()
    local given = orders(200)
    given[2].skus = { { supplier_uuid = helper.SUPPLIER, sku_id = "000106", quantity = 2 } }
    create(0):close()
    os.remove(path)
    local index = 0
    local journal = assert(Journal.create(path, HEADER, function()
      index = index + 1
      return given[index]
    end))
    assert.equal(200, journal:count())
    for _, place in ipairs{ 200, 1, 2, 3, 64, 65, 130 } do
      assert.same(given[place], journal:arguments(place))
    end
    journal:close()
    journal = assert(Journal.open(path))
    for place = 1, 200 do assert.same(given[place], journal:arguments(place)) end
    assert.equal("retailer", journal.header.account)
    assert.equal("none", journal:state(200).name)
    journal:close()
  end)

  it("is for its owner alone, and has no token", function()
    create(2):close()
    local system = require "crux.os"
    assert.equal(tonumber("600", 8), system.stat(path).mode)
    assert.is_nil(files.read(path):find("token", 1, true))
  end)

  it("is not made where a file is", function()
    files.write(path, "mine")
    local journal, message, why = Journal.create(path, HEADER, orders(1))
    assert.is_nil(journal)
    assert.equal("exists", why)
    assert.is_truthy(message:find(path, 1, true), message)
    assert.equal("mine", files.read(path))
  end)

  it("is not made in a directory that is read-only or is not there", function()
    local journal, message, why = Journal.create(directory .. "/none/a.journal", HEADER, orders(1))
    assert.is_nil(journal)
    assert.equal("io", why)
    assert.is_truthy(message:find("No such file", 1, true), message)
    os.execute("chmod u-w " .. directory)
    if io.open(path, "w") then return os.remove(path) end -- root may write anywhere
    journal, message, why = Journal.create(path, HEADER, orders(1))
    assert.is_nil(journal)
    assert.equal("io", why)
    assert.is_truthy(message:find("Permission denied", 1, true), message)
  end)

  it("is removed if the orders raise an error while it is made", function()
    local ok, why = pcall(Journal.create, path, HEADER, function() error("bad row", 0) end)
    assert.is_false(ok)
    assert.equal("bad row", why)
    assert.is_nil(io.open(path))
  end)

  it("leads from state to state, and tells the same when it is opened again", function()
    local journal = create(12)
    assert.is_true(journal:begin{ timeout = 30 })
    assert.is_true(journal:intend{ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 })
    for index, fields in ipairs{
      { outcome = "accepted", status = 204 }, { outcome = "rejected", status = 422, kind = "http" },
      { outcome = "rejected", status = 401, kind = "auth" },
      { outcome = "rejected", status = 429, kind = "http" }, { outcome = "not_sent", kind = "dns" },
      { outcome = "not_sent", kind = "auth" }, { outcome = "not_sent", kind = "invalid" },
      { outcome = "unknown", kind = "timeout" }, { outcome = "not_started" },
      { outcome = "unknown", status = 500 },
    } do assert.is_true(journal:conclude(index, fields)) end
    assert.is_true(journal:look(10, { looked = "partial", status = 500 }))
    assert.is_true(journal:stop{ reason = "signal", signal = "SIGINT" })
    local expected = {
      "accepted", "rejected", "unauthorized", "throttled", "not_sent", "no_token", "invalid",
      "unknown", "not_started", "partial", "intent", "none",
    }
    for index, name in ipairs(expected) do assert.equal(name, journal:state(index).name) end
    assert.equal(422, journal:last_line(2).status)
    journal:close()
    assert.same(expected, states())
    journal = assert(Journal.open(path))
    assert.equal("SIGINT", journal.stopped.signal)
    assert.equal("partial", journal:last_line(10).looked)
    journal:close()
  end)

  it("raises an error for a second intent of an order that was accepted or is unknown", function()
    local journal = create(3)
    journal:intend{ 1, 2 }
    journal:conclude(1, { outcome = "accepted", status = 204 })
    assert.has_error(function() journal:intend{ 3, 1 } end,
      "order 1: an intent cannot follow accepted")
    assert.has_error(function() journal:intend{ 2 } end, "order 2: an intent cannot follow intent")
    assert.has_error(function() journal:conclude(3, { outcome = "accepted" }) end,
      "order 3: outcome cannot follow none")
    journal:close()
    assert.same({ "accepted", "intent", "none" }, states())
  end)

  it("is used by one process at a time, and can be read meanwhile", function()
    local journal = create(1)
    assert.equal("locked", (refusal{ lock = true }))
    assert.same({ "none" }, states())
    journal:close()
    assert.same({ "none" }, states{ lock = true })
  end)

  it("that is removed between its opening and its lock is not used", function()
    create(1):close()
    local system = require "crux.os"
    local open = system.open
    finally(function() system.open = open end)
    system.open = function(...)
      local file = open(...)
      os.remove(path)
      return file
    end
    local journal, message, why = Journal.open(path, { lock = true })
    assert.same({ nil, "io" }, { journal, why })
    assert.is_truthy(message:find("was removed", 1, true), message)
  end)

  it("that is removed while it is used takes no further intent", function()
    local journal = create(2)
    assert.is_true(journal:intend{ 1 })
    os.remove(path)
    local ok, message = journal:intend{ 2 }
    assert.is_nil(ok)
    assert.equal(path .. ": the journal was removed", message)
    assert.equal("none", journal:state(2).name)
    journal:close()
  end)

  it("that another process is making is in use, and not to be deleted", function()
    local text
    local journal = assert(Journal.create(path, HEADER, function()
      if text then return nil end
      text = select(2, refusal())
      assert.equal("locked", (refusal{ lock = true }))
      return orders(1)[1]
    end))
    journal:close()
    assert.equal(path .. ": another process uses the journal", text)
  end)

  it("without a host, a generation or a time is refused", function()
    create(1):close()
    local text = files.read(path)
    for _, field in ipairs{ '"base_url":"[^"]*",?', '"api":"v1",?', '"time":%d+,?' } do
      files.write(path, (text:gsub(field, "", 1):gsub(",}", "}")))
      assert.equal("bad", (refusal()))
    end
  end)

  it("of another version is refused", function()
    create(1):close()
    files.write(path, (files.read(path):gsub('"version":1', '"version":2')))
    local why, message = refusal()
    assert.equal("version", why)
    assert.is_truthy(message:find("version 1, found version 2", 1, true), message)
  end)

  it("is not any other file", function()
    for _, text in ipairs{ "order_uuid\n", "{}\n", "order_uuid", '{"type":"order"}\n', "\n" } do
      files.write(path, text)
      assert.equal("bad", (refusal()))
      assert.equal(text, files.read(path))
    end
  end)

  it("with a damaged line in the middle is refused, with the number of the line", function()
    local journal = create(3)
    journal:begin{ timeout = 1 }
    journal:intend{ 1, 2 }
    journal:conclude(1, { outcome = "accepted", status = 204 })
    journal:close()
    local text, lines = files.read(path), {}
    for line in text:gmatch("[^\n]*\n") do lines[#lines + 1] = line end
    for number = 2, #lines do
      local others = { "{\n", "\n", "null\n", '{"type":"other"}\n' }
      others[5] = lines[number]:gsub("%d", "x")
      if number ~= 6 then others[#others + 1] = lines[number] .. lines[number] end
      for _, other in ipairs(others) do
        local copy = {}
        for i, line in ipairs(lines) do copy[i] = i == number and other or line end
        files.write(path, table.concat(copy))
        local why, message = refusal()
        assert.equal("bad", why)
        local named = tonumber(message:match(":(%d+): "))
        assert.is_true(named == number or named == number + 1, message)
      end
    end
  end)

  -- What a kill or a loss of power may leave, at each byte.
  it("that was cut at any byte loses the last line at most, and never gains one", function()
    local journal = create(3)
    journal:begin{ timeout = 1 }
    journal:intend{ 1, 2 }
    journal:conclude(1, { outcome = "accepted", status = 204 })
    journal:conclude(2, { outcome = "rejected", status = 422, kind = "http", message = "no" })
    journal:intend{ 3 }
    journal:conclude(3, { outcome = "unknown", kind = "timeout", message = "deadline" })
    journal:close()
    local text = files.read(path)
    local _, complete = text:find('"type":"count"[^\n]*\n')
    for length = 0, #text do
      files.write(path, text:sub(1, length))
      local kept = text:sub(1, length):match("^.*\n") or ""
      if length < complete then
        local why, message = refusal{ lock = true }
        assert.equal("incomplete", why)
        assert.is_truthy(message:find("nothing was sent", 1, true), message)
        assert.equal(text:sub(1, length), files.read(path))
      else
        states() -- changes nothing
        assert.equal(text:sub(1, length), files.read(path))
        local before = states{ lock = true }
        assert.equal(kept, files.read(path))
        for _ = 1, 2 do -- as two resumed runs
          journal = assert(Journal.open(path, { lock = true }))
          for index = 1, 3 do
            assert.equal(before[index], journal:state(index).name)
            if journal:state(index).sends then
              assert.is_true(journal:intend{ index })
              assert.is_true(journal:conclude(index, { outcome = "not_started" }))
              before[index] = "not_started"
            end
          end
          journal:close()
        end
        assert.same(before, states())
        assert.equal(kept, files.read(path):sub(1, #kept))
      end
    end
  end)
end)

describe("a journal of a million orders", function()
  -- The peak of the heap, above that of a small journal, in a process of its own.
  it("takes at most 120 bytes for each order #slow", function()
    local path = os.tmpname()
    finally(function() os.remove(path) end)
    local source = [[
      local Journal = require "crux.cli.journal"
      local function peak()
        for line in io.lines("/proc/self/status") do
          local kilobytes = line:match("^VmHWM:%s+(%d+)")
          if kilobytes then return tonumber(kilobytes) * 1024 end
        end
      end
      local path, count = ]] .. ("%q"):format(path) .. [[, 1000000
      local function create(n)
        local index = 0
        os.remove(path)
        local header = { base_url = "https://127.0.0.1", api = "v1" }
        return assert(Journal.create(path, header, function()
          index = index + 1
          if index > n then return nil end
          return { order_uuid = ("54a31ec5-b0be-4a92-af4c-%012d"):format(index) }
        end))
      end
      create(1000):close()
      local before = peak()
      local journal = create(count)
      journal:begin{ timeout = 30 }
      for first = 1, 320, 32 do
        local window = {}
        for index = first, first + 31 do window[#window + 1] = index end
        assert(journal:intend(window))
        for _, index in ipairs(window) do
          assert(journal:conclude(index, { outcome = "accepted", status = 204 }))
        end
      end
      journal:close()
      journal = nil
      journal = assert(Journal.open(path))
      print(journal:count(), journal:state(320).name, journal:arguments(count).order_uuid)
      print((peak() - before) / count)
    ]]
    local printed = helper.child(source)
    local first, bytes = printed:match("^([^\n]*)\n([%d.]+)$")
    assert.equal("1000000\taccepted\t54a31ec5-b0be-4a92-af4c-000001000000", first, printed)
    assert.is_true(tonumber(bytes) <= 120, bytes .. " bytes for each order")
  end)
end)
