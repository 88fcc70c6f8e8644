-- Every system call on a journal fails once: what was sent is always among the intents on the disk,
-- and what is left of the journal can be resumed.
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local helper = require "spec.helper"
local process = require "spec.support.process"
local Journal = require "crux.cli.journal"

local ORDERS, CONCURRENCY = 7, 2

-- See spec/support/failing_file.c.
local MESSAGES = { EIO = "Input/output error", ENOSPC = "No space left on device" }
local HOWS = { "EIO", "ENOSPC", "short", "exit", "half", "full" }

describe("a run whose journal fails", function()
  local object, sandbox, directory, path

  setup(function() object = forks.compile("failing_file.c") end)
  teardown(function() os.remove(object) end)
  before_each(function()
    directory = files.lines("mktemp -d")[1]
    path = directory .. "/orders.journal"
  end)
  after_each(function()
    if sandbox then sandbox:close() end
    sandbox = nil
    os.execute("rm -r " .. directory)
  end)

  -- Starts a sandbox, and writes its orders to a file.
  local function start()
    sandbox = process.sandbox{ plain = true, orders = ORDERS }
    files.write(directory .. "/orders", table.concat(sandbox.orders, "\n") .. "\n")
  end

  -- Runs the command. Returns its exit code and what it printed.
  local function run(task, failing)
    local environment = {
      CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.tokens.retailer,
      XDG_STATE_HOME = directory,
    }
    if failing then
      environment.LD_PRELOAD, environment.FAILING_FILE = object, path
      environment.FAILING_AT, environment.FAILING_HOW = failing.at, failing.how
    end
    local words = {}
    for name, value in pairs(environment) do
      words[#words + 1] = name .. "=" .. helper.quoted(tostring(value))
    end
    local arguments = task == "cancel" and ("--file %s/orders --journal"):format(directory) or ""
    arguments = ("%s %s --yes --concurrency %d --timeout 1"):format(arguments, path, CONCURRENCY)
    local lines = files.lines(("{ env %s %s bin/crux %s %s; echo $?; }"):format(
      table.concat(words, " "), helper.lua, task, arguments))
    return table.remove(lines), table.concat(lines, "\n")
  end

  local function read_if_there(name)
    local file = io.open(name, "rb")
    if not file then return nil end
    file:close()
    return files.read(name)
  end

  -- The orders of a journal that have an intent.
  local function intents(text)
    local uuids, found = {}, {}
    for line in (text or ""):gmatch("([^\n]*)\n") do
      local index, uuid = line:match('^{"type":"order","index":(%d+),.*"order_uuid":"([^"]*)"')
      if index then uuids[index] = uuid end
      local intent = line:match('^{"type":"intent","index":(%d+),')
      if intent then found[uuids[intent]] = true end
    end
    return found
  end

  -- Resumes the journal until nothing is left, and compares it with what the server has seen.
  local function finish(where)
    if not read_if_there(path) then assert.equal("0", (run("cancel")), where) end
    local code, text = run("resume")
    if text:find("nothing was sent, delete it", 1, true) then
      os.remove(path)
      code, text = run("cancel")
    end
    assert.is_truthy(code == "0" or code == "3", where .. ": " .. text)
    assert.equal(code, (run("resume")), where)
    local journal, cancels = assert(Journal.open(path)), sandbox:record().cancels
    assert.equal(ORDERS, journal:count())
    for index = 1, journal:count() do
      local uuid, state = journal:arguments(index).order_uuid, journal:state(index).name
      local entry = cancels[uuid] or { received = 0, executed = 0 }
      assert.is_true(entry.received <= 1, where .. ": sent twice")
      if state == "accepted" then assert.equal(1, entry.executed, where)
      else assert.equal("intent", state, where) end
    end
    journal:close()
  end

  -- One run that fails at a call. Returns the name of the call; nil: there are not so many.
  local function fail_at(task, how, at)
    os.remove(path .. ".failed")
    os.remove(path .. ".disk")
    local code, text = run(task, { at = at, how = how })
    local failed = read_if_there(path .. ".failed")
    local where = ("%s, %s of call %d (%s)"):format(task, how, at, tostring(failed))
    assert.is_nil(text:find("fault of this program", 1, true), where .. ": " .. text)
    if failed and failed ~= "close" and MESSAGES[how] then
      assert.is_truthy(text:find(MESSAGES[how], 1, true), where .. " is not told: " .. text)
      assert.is_true(code ~= "0", where .. ": ended with 0")
    end
    local kept = intents(read_if_there(path .. ".disk"))
    for uuid in pairs(sandbox:record().cancels) do
      assert.is_true(kept[uuid], where .. ": sent without an intent on the disk")
    end
    return failed, where
  end

  for _, how in ipairs(HOWS) do
    it("keeps every intent of what was sent, after " .. how .. " #slow", function()
      local names, at = {}, 0
      repeat
        start()
        at = at + 1
        local failed, where = fail_at("cancel", how, at)
        names[failed or ""] = true
        finish(where)
        os.remove(path)
        sandbox:close()
        sandbox = nil
      until not failed
      for _, name in ipairs{ "open", "write", "fdatasync", "fsync" } do
        assert.is_truthy(names[name] or how == "full" and name ~= "write", name .. " never failed")
      end
      assert.is_true(at > 10, at .. " calls")
    end)

    it("is resumed with every intent of what was sent, after " .. how .. " #slow", function()
      local names, at = {}, 0
      repeat
        start()
        at = at + 1
        -- a run that was killed with a part of its last line written
        local list = {}
        for index, uuid in ipairs(sandbox.orders) do list[index] = { order_uuid = uuid } end
        local header = { base_url = sandbox.base_url, api = "v1" }
        local journal = assert(Journal.create(path, header, list))
        journal:close()
        files.write(path, files.read(path) .. '{"type":"run","tim')
        local failed, where = fail_at("resume", how, at)
        names[failed or ""] = true
        finish(where)
        os.remove(path)
        sandbox:close()
        sandbox = nil
      until not failed
      for _, name in ipairs{ "open", "write", "fdatasync", "flock", "pread", "ftruncate" } do
        assert.is_truthy(names[name] or how == "full" and name ~= "write", name .. " never failed")
      end
    end)
  end
end)
