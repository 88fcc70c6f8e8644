-- What a bulk run takes of memory for each order: the input, the journal and the run together
-- (#slow).
local command = require "spec.support.command"
local files = require "spec.support.files"
local helper = require "spec.helper"

-- Runs the command, and prints the most memory that the process has had, in KiB.
local PROGRAM = [[
  local code = require "crux.cli"{
    "cancel", "--yes", "--quiet", "--retries", "0", "--file", arg[1], "--base-url",
      "http://127.0.0.1:1",
  }
  for line in io.lines("/proc/self/status") do
    local most = line:match("^VmHWM:%s*(%d+)")
    if most then print("peak", code, most) end
  end
]]

describe("a bulk run of crux #slow", function()
  local place
  before_each(function() place = command.place() end)
  after_each(function() place:remove() end)

  local function peak(count)
    local path = place:path("orders-" .. count .. ".csv")
    local file = assert(io.open(path, "w"))
    file:write("order_uuid\n")
    for i = 1, count do file:write(("%08x-0000-4000-8000-%012x\n"):format(i * 7919 % 2 ^ 32, i)) end
    file:close()
    local lines = files.lines(("CRUX_TOKEN=t %s %s %s"):format(helper.lua, place:path("program.lua",
      PROGRAM), path))
    local code, most = lines[#lines]:match("^peak\t(%d+)\t(%d+)$")
    assert.equal("5", code, table.concat(lines, "\n"))
    return tonumber(most) * 1024
  end

  it("takes at most 120 bytes for each order", function()
    local few, many = 10000, 210000
    local each = (peak(many) - peak(few)) / (many - few)
    assert.is_true(each <= 120, ("expected at most 120 bytes, found %.0f"):format(each))
  end)
end)
