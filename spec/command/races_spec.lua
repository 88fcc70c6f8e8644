-- The command run twice at once on the same orders: one of the two sends them.
local files = require "spec.support.files"
local helper = require "spec.helper"
local process = require "spec.support.process"

local ORDERS = 40

describe("two commands at once", function()
  local sandbox, directory

  before_each(function()
    sandbox = process.sandbox{ plain = true, orders = ORDERS }
    directory = files.lines("mktemp -d")[1]
    local rows = "order_uuid\n" .. table.concat(sandbox.orders, "\n") .. "\n"
    files.write(directory .. "/orders.csv", rows)
  end)
  after_each(function()
    sandbox:close()
    os.execute("rm -r " .. directory)
  end)

  -- Runs the same command in so many processes at once. Returns how often each exit code came.
  local function together(count, words)
    local command = ("CRUX_BASE_URL=%s/~jitter=20 CRUX_TOKEN=%s %s bin/crux %s --yes"):format(
      sandbox.base_url, sandbox.tokens.retailer, helper.lua, words)
    local one = ("{ %s >/dev/null 2>>%s/errors; echo $?; }"):format(command, directory)
    local script = (one .. " & "):rep(count) .. "wait"
    local codes = {}
    for _, line in ipairs(files.lines(script)) do codes[line] = (codes[line] or 0) + 1 end
    return codes
  end

  local function check_sent_once()
    local seen = 0
    for _, entry in pairs(sandbox:record().cancels) do
      seen = seen + 1
      assert.equal(1, entry.received)
    end
    assert.equal(ORDERS, seen)
  end

  it("make one journal of a file, and send each order once", function()
    local codes = together(4, "cancel --file " .. directory .. "/orders.csv")
    assert.same({ ["0"] = 1, ["2"] = 3 }, codes)
    check_sent_once()
  end)

  it("resume one journal, and send each order once", function()
    local Journal = require "crux.cli.journal"
    local list, path = {}, directory .. "/a.journal"
    for index, uuid in ipairs(sandbox.orders) do list[index] = { order_uuid = uuid } end
    local header = { base_url = sandbox.base_url .. "/~jitter=20", api = "v1" }
    assert(Journal.create(path, header, list)):close()
    local codes = together(4, "resume " .. path)
    -- one that comes after the other has ended finds nothing left
    assert.is_true((codes["0"] or 0) >= 1, files.read(directory .. "/errors"))
    assert.equal(4, (codes["0"] or 0) + (codes["2"] or 0))
    check_sent_once()
  end)
end)
