-- The HTTP/1.1 response parser: what it accepts and refuses, in whatever pieces the bytes arrive.
-- The parser does not depend on Lua, so these specs run under one Lua (#tree).
local forks = require "spec.support.forks"
local responses = require "spec.support.responses"

local object = forks.compile("response.c")
local parser = assert(package.loadlib(object, "luaopen_response"))()
os.remove(object)

local function quoted(bytes)
  local text = ("%q"):format(bytes):gsub("\r", "\\r"):gsub("\\\n", "\\n"):gsub("%z", "\\0")
  return #text < 300 and text or text:sub(1, 300) .. " …"
end

describe("the response parser #tree", function()
  for _, row in ipairs(responses) do
    it(row.name .. " (" .. row.section .. ")", function()
      local verdict = parser.parse(row.bytes, row.max_body)
      for key, value in pairs(row.expected) do
        assert.same(value, verdict[key] or false, key .. " of " .. quoted(row.bytes))
      end
    end)
  end

  it("parses each response alike in one piece, two pieces and single bytes", function()
    for _, row in ipairs(responses) do
      local cut = parser.differing_cut(row.bytes, row.max_body)
      assert.is_nil(cut, row.name .. ": " .. quoted(row.bytes))
    end
  end)

  it("has a different name for each row", function()
    local names = {}
    for _, row in ipairs(responses) do
      assert.is_nil(names[row.name], row.name)
      names[row.name] = true
    end
  end)
end)
