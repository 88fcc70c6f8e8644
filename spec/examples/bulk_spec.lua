-- examples/bulk.lua, run as a user would, and its report compared with the sandbox's record.
local forks = require "spec.support.forks"
local process = require "spec.support.process"
local program = require "spec.support.program"

local quoted = program.quoted

local sandbox, path

before_each(function() path = os.tmpname() end)

after_each(function()
  if sandbox then sandbox:close() end
  sandbox = nil
  os.remove(path)
end)

local function environment(changes)
  local set = {
    CRUX_BASE_URL = sandbox.base_url, CRUX_USERNAME = "retailer", CRUX_PASSWORD = "retailer",
    CRUX_CA_FILE = sandbox.ca_file,
  }
  for name, value in pairs(changes or {}) do set[name] = value end
  return set
end

local function write_csv(...) program.write(path, table.concat({ ... }, "\n") .. "\n") end

-- The orders of the sandbox as a CSV file of one column.
local function write_orders() write_csv("order_uuid", table.concat(sandbox.orders, "\n")) end

-- Takes what it printed apart: the counts, and by order what is said about it.
local function read(stdout)
  local counts, lines, stopped = {}, {}, nil
  for line in stdout:gmatch("[^\n]+") do
    local name, rest = line:match("^(%S+)\t(.*)$")
    if #name == 36 then
      assert.is_nil(lines[name], "expected one line for each order, found two: " .. line)
      lines[name] = rest
    elseif name == "stopped" then stopped = rest
    else counts[name] = tonumber(rest) end
  end
  local said = { not_started = 0, rejected = 0, unknown = 0, not_sent = 0 }
  for _, text in pairs(lines) do
    local outcome = text == "not started" and "not_started" or text:match("^[%l_]+")
    said[outcome] = said[outcome] + 1
  end
  for outcome, count in pairs(said) do assert.equal(count, counts[outcome], outcome) end
  return counts, lines, stopped
end

local function run(arguments, changes)
  local command = "examples/bulk.lua " .. quoted(path) .. (arguments and " " .. arguments or "")
  local status, stdout, stderr = program.run(environment(changes), command)
  local counts, lines, stopped = read(stdout)
  return status, counts, lines, stopped, stderr
end

-- Asserts that the record of each order agrees with what was printed of it.
local function check_record(lines)
  local cancels = sandbox:record().cancels
  for _, uuid in ipairs(sandbox.orders) do
    local entry, line = cancels[uuid] or { received = 0, executed = 0, answers = {} }, lines[uuid]
    if not line then
      assert.same({ 1, 1, { 204 } }, { entry.received, entry.executed, entry.answers })
    elseif line == "not started" or line:find("^not_sent") then assert.equal(0, entry.received)
    else
      assert.equal(1, entry.received, uuid .. ": " .. line)
      if line:find("^rejected") then assert.equal(0, entry.executed) end
    end
  end
end

describe("examples/bulk.lua", function()
  it("has fewer than 40 lines", function()
    local _, lines = program.read("examples/bulk.lua"):gsub("\n", "")
    assert.is_true(lines < 40, tostring(lines))
  end)

  it("cancels each order of the file once, shows its progress, and exits with 0", function()
    sandbox = process.sandbox{ orders = 60 }
    write_orders()
    local status, counts, lines, stopped, stderr = run()
    assert.same({ accepted = 60, rejected = 0, unknown = 0, not_sent = 0, not_started = 0 }, counts)
    assert.same({}, lines)
    assert.is_nil(stopped)
    assert.equal(0, status)
    local seen = 0
    for done, accepted in stderr:gmatch("(%d+), accepted (%d+)\r") do
      seen = seen + 1
      assert.same({ seen, seen }, { tonumber(done), tonumber(accepted) })
    end
    assert.equal(60, seen)
    check_record(lines)
  end)

  it("takes a column by its heading, in the forms that spreadsheets write", function()
    sandbox = process.sandbox{ orders = 4 }
    local o = sandbox.orders
    write_csv('\239\187\191"Order UUID";"Note"\r', ('"%s";"late"\r'):format(o[1]),
      ("%s;\r"):format(o[2]), "\r", ("  %s ; twice\r"):format(o[2]), ("%s\r"):format(o[3]))
    local status, counts, lines = run('"Order UUID"')
    assert.equal(0, status)
    assert.equal(3, counts.accepted)
    assert.same({}, lines)
    check_record{ [o[4]] = "not started" }
    write_csv("\239\187\191order_uuid,note", ("%s,x"):format(o[4]))
    status, counts, lines = run()
    assert.same({ 0, 1, {} }, { status, counts.accepted, lines })
    check_record{}
  end)

  it("prints the orders that were not accepted, and exits with 1", function()
    sandbox = process.sandbox{ orders = 20 }
    local wrong = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e2x"
    write_csv("order_uuid", sandbox.shipped_order, wrong, table.concat(sandbox.orders, "\n"))
    local status, counts, lines = run()
    assert.same({ accepted = 20, rejected = 1, unknown = 0, not_sent = 1, not_started = 0 }, counts)
    assert.equal(1, status)
    assert.equal("rejected (http): HTTP 422 Unprocessable Entity: This order is no longer pending.",
      lines[sandbox.shipped_order])
    assert.is_truthy(lines[wrong]:find("not_sent (invalid): order_uuid: expected", 1, true))
    check_record(lines)
  end)

  it("exits with 2 if some are unknown, and sends none of them again", function()
    sandbox = process.sandbox{ orders = 20 }
    write_orders()
    local base_url = sandbox.base_url .. "/~drop=after,times=3"
    local status, counts, lines = run(nil,
      { CRUX_BASE_URL = base_url, CRUX_TOKEN = sandbox.tokens.retailer })
    assert.same({ accepted = 17, rejected = 0, unknown = 3, not_sent = 0, not_started = 0 }, counts)
    assert.equal(2, status)
    for _, line in pairs(lines) do assert.is_truthy(line:find("^unknown %(network%)"), line) end
    check_record(lines)
  end)

  it("names the orders that were not started if the batch ends early, and why it did", function()
    sandbox = process.sandbox{ orders = 40 }
    write_orders()
    local status, counts, lines, stopped = run(nil,
      { CRUX_USERNAME = "clerk", CRUX_PASSWORD = "clerk" })
    assert.equal(1, status)
    assert.equal(0, counts.accepted)
    assert.equal(40, counts.rejected + counts.not_started)
    assert.is_true(counts.rejected >= 1 and counts.rejected <= 8, tostring(counts.rejected))
    assert.is_truthy(stopped:find("^stop_on\trejected %(http%): HTTP 403"), stopped)
    check_record(lines)
  end)

  it("accounts for each order after Ctrl-C", function()
    sandbox = process.sandbox{ orders = 30, plain = true }
    write_orders()
    local settings = ("CRUX_BASE_URL=%s/~delay=60000 CRUX_TOKEN=%s"):format(sandbox.base_url,
      sandbox.tokens.retailer)
    local command = "echo $$; exec env -u CRUX_CA_FILE %s %s examples/bulk.lua %s 2>/dev/null"
    local pipe = io.popen(command:format(settings, program.lua, quoted(path)))
    local pid = tonumber(pipe:read("*l"))
    for _ = 1, 400 do
      if sandbox:record().requests >= 8 then break end
      os.execute("sleep 0.05")
    end
    forks.kill(pid, 2)
    local counts, lines, stopped = read(pipe:read("*a"))
    pipe:close()
    assert.same({ accepted = 0, rejected = 0, unknown = 8, not_sent = 0, not_started = 22 }, counts)
    assert.is_truthy(stopped:find("^interrupted\t.*interrupted!$"), stopped)
    check_record(lines)
  end)

  it("exits with 3 if there is no such file or column", function()
    sandbox = process.sandbox{ orders = 1 }
    write_csv("uuid", sandbox.orders[1])
    for _, arguments in ipairs{ "", "/does/not/exist", quoted(path), quoted(path) .. " order" } do
      local status, stdout, stderr = program.run(environment(), "examples/bulk.lua " .. arguments)
      assert.same({ 3, "" }, { status, stdout })
      assert.is_truthy(stderr:find("^usage: examples/bulk.lua FILE.csv %[COLUMN%]"), stderr)
    end
    assert.same({}, sandbox:record().cancels)
  end)
end)
