--- crux.core with the endpoints of spec/support/api.c instead of crux's own: the objects that make
-- has built for the Lua that runs this, linked once more.
-- @module spec.support.api
local helper = require "spec.helper"

local quoted = helper.quoted

-- Where core.so was built, and its objects are.
local function build_directory()
  for template in package.cpath:gmatch("[^;]+") do
    local path = template:gsub("%?", "crux/core")
    local file = io.open(path)
    if file then
      file:close()
      return path:match("^(.*)crux/core%.so$")
    end
  end
end

-- The function that opens the module. `flags`: more words for the compiler.
local function link(flags)
  local build = assert(build_directory(), "expected to be run by make")
  local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d")
  local dir = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-api.XXXXXX"')):read("*l")
  local command = ([[
    case $(uname -s) in Darwin) link='-bundle -undefined dynamic_lookup';; *) link=-shared;; esac
    objects=$(for file in csrc/*.c csrc/*/*.c; do
      case $file in csrc/api.c | csrc/command/*) ;; *) printf '%%s\n' %s/${file#csrc/};; esac; done | sed 's/c$/o/')
    "${CC:-cc}" -std=gnu11 -fPIC -pthread -fvisibility=hidden -Wall -Wextra -Werror $link \
      -Icsrc %s $(pkg-config --cflags %s) -o %s spec/support/api.c $objects %s 2>&1]]):format(
    quoted(build .. "obj"), flags or "", lua, quoted(dir .. "/core.so"), helper.curl_libs)
  local pipe = assert(io.popen(command))
  local said = pipe:read("*a")
  pipe:close()
  local open, why = package.loadlib(dir .. "/core.so", "luaopen_crux_core")
  os.remove(dir .. "/core.so")
  os.remove(dir)
  assert(open, said .. tostring(why))
  return open
end

return { link = link, core = link()() }
