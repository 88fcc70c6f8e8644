-- A local server that behaves like the service, to try crux against: `make sandbox`, or
-- `lua5.4 examples/sandbox.lua`; --help lists its options. It needs Lua 5.4, lua-cqueues,
-- lua-luaossl and lua-cjson. Where crux is installed, `crux sandbox` is the same.

local root = arg[0]:match("^(.*/)examples/[^/]*$") or arg[0]:match("^examples/") and "./" or "../"
package.path = root .. "lua/?.lua;" .. package.path

-- What crux is loaded from: the build that `make` puts on the path, else one in the tree, else an
-- installed crux.
local function paths(quoted)
  local library = (";" .. package.cpath):match(";(/[^;]*/%?%.so)") or root .. "build/lua5.4/?.so"
  local file = io.open((library:gsub("%?", "crux/core")))
  if not file then return nil end
  file:close()
  return ("export LUA_PATH=%s LUA_CPATH=%s"):format(quoted(root .. "lua/?.lua;;"),
    quoted(library .. ";;"))
end

require "crux.sandbox.program"(arg, {
  usage = 'make sandbox ARGS="OPTION..."  or  lua5.4 examples/sandbox.lua OPTION...',
  hints = function(order_uuid, quoted)
    local lines = { paths(quoted) }
    lines[#lines + 1] = ("%s %s %s"):format(os.getenv("TEST_LUA") or "lua5.4",
      quoted(root .. "examples/cancel.lua"), order_uuid)
    return lines
  end,
})
