-- crux.os: files, directories and signals. The terminal is for the specs with a pseudo-terminal.
local files = require "spec.support.files"
local helper = require "spec.helper"
local system = require "crux.os"

describe("crux.os", function()
  local directory, path

  before_each(function()
    directory = files.lines("mktemp -d")[1]
    path = directory .. "/file"
  end)
  after_each(function() os.execute("rm -r " .. directory) end)

  it("creates a file that was not there, for its owner alone", function()
    local file = assert(system.open(path, "create"))
    assert.is_true(file:write("one\n"))
    assert.is_true(file:write(""))
    assert.is_true(file:sync())
    assert.is_true(file:close())
    assert.is_true(file:close())
    assert.equal("one\n", files.read(path))
    local expected = { kind = "file", mode = tonumber("600", 8), size = 4, links = 1, owned = true }
    assert.same(expected, system.stat(path))
    local other, message, name = system.open(path, "create")
    assert.is_nil(other)
    assert.equal("EEXIST", name)
    assert.equal(path .. ": File exists", message)
  end)

  it("appends to a file, reads it anywhere, and cuts it", function()
    files.write(path, "one\n")
    local file = assert(system.open(path, "append"))
    assert.is_true(file:write("two\n"))
    assert.equal("two\n", file:read(4, 100))
    assert.equal("e", file:read(2, 1))
    assert.equal("", file:read(8, 100))
    assert.is_true(file:truncate(5))
    assert.is_true(file:write("!"))
    assert.equal("one\nt!", file:read(0, 100))
    assert.equal(6, file:stat().size)
    file:close()
    assert.has_error(function() file:write("x") end, "the file is closed")
    assert.has_error(function() file:read(0, 1) end, "the file is closed")
  end)

  it("names what failed", function()
    local file, message, name = system.open(path, "append")
    assert.same({ nil, path .. ": No such file or directory", "ENOENT" }, { file, message, name })
    files.write(path, "one\n")
    file = assert(system.open(path, "read"))
    local ok, _, why = file:write("x")
    assert.same({ nil, "EBADF" }, { ok, why })
    file:close()
    assert.equal("ENOENT", (select(3, system.stat(directory .. "/none"))))
    assert.equal("ENOTDIR", (select(3, system.sync_directory(path))))
    assert.has_error(function() system.open(path, "w") end)
    assert.has_error(function() assert(system.open(path, "read")):read(-1, 1) end)
  end)

  it("tells a full disk", function()
    local file = system.open("/dev/full", "append")
    if not file then return pending("needs /dev/full") end
    local ok, _, name = file:write("x")
    file:close()
    assert.same({ nil, "ENOSPC" }, { ok, name })
  end)

  it("locks a file for one holder, until it is closed", function()
    files.write(path, "")
    local first, second = assert(system.open(path, "append")), assert(system.open(path, "append"))
    assert.is_true(first:lock())
    local ok, _, name = second:lock()
    assert.same({ nil, "EAGAIN" }, { ok, name })
    first:close()
    assert.is_true(second:lock())
    second:close()
  end)

  it("makes directories that their owner alone can use", function()
    assert.is_true(system.mkdir(directory .. "/inner"))
    local status = system.stat(directory .. "/inner")
    assert.same({ "directory", tonumber("700", 8) }, { status.kind, status.mode })
    assert.equal("EEXIST", (select(3, system.mkdir(directory .. "/inner"))))
    assert.is_true(system.sync_directory(directory))
  end)

  it("knows what is no terminal", function()
    local printed = helper.child("local s = require 'crux.os' print(s.isatty(1), s.width(1))")
    assert.is_truthy(printed:find("^false"), printed)
    assert.is_nil(printed:find("%d"), printed)
  end)

  local SENDS = [[
    local system = require "crux.os"
    local function send(name)
      local pipe = io.popen("kill -" .. name .. " $PPID")
      pipe:close()
    end
    io.stdout:setvbuf("no")
  ]]

  it("counts signals, and names the first", function()
    local printed = helper.child(SENDS .. [[
      print(system.signals())
      system.catch_signals()
      send "TERM"
      print(system.signals())
      send "INT"
      print(system.signals())
    ]])
    assert.equal("0\n1\tSIGTERM\t15\n2\tSIGTERM\t15", printed)
  end)

  it("lets the third signal end the process", function()
    local printed = helper.child(SENDS .. [[
      system.catch_signals()
      for _ = 1, 4 do
        send "HUP"
        print((system.signals()))
      end
    ]])
    assert.equal("1\n2", printed)
  end)

  it("ignores SIGPIPE, and leaves a signal alone that is ignored", function()
    local printed = helper.child(SENDS .. [[
      system.catch_signals()
      send "PIPE"
      send "HUP"
      print(system.signals())
    ]], nil, "trap '' HUP;")
    assert.equal("0", printed)
  end)
end)
