--- spec/support/fork.c, compiled for the Lua that runs this; and a function that compiles the other
-- C helpers.
--
--     local forks = require "spec.support.forks"
--     forks.fork(), forks.waitpid(pid, seconds), forks.readable(fd, seconds), forks.thread(source), …
-- @module spec.support.forks

local helper = require "spec.helper"

local quoted = helper.quoted

local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d")

local COMPILE = [[
case $(uname -s) in Darwin) link='-bundle -undefined dynamic_lookup';; *) link=-shared;; esac
"${CC:-cc}" -std=gnu11 -fPIC -O1 -Wall -Wextra -pthread $link %s $(pkg-config --cflags %s) \
  -o %s %s -ldl %s 2>&1]]

-- Compiles a file of this directory, with further flags if there are any. The caller removes the
-- object after loading it.
local function compile(name, flags)
  local object = os.tmpname()
  local pipe = assert(io.popen(COMPILE:format(helper.curl_cflags, lua, quoted(object),
    quoted("spec/support/" .. name), flags or "")))
  local said = pipe:read("*a")
  pipe:close()
  assert(said == "", said)
  return object
end

local object = compile("fork.c")
local open, why = package.loadlib(object, "luaopen_fork")
os.remove(object)
local forks = assert(open, why)()

--- Compiles a C file of this directory, with further flags if there are any, into a shared object,
-- which the caller removes.
forks.compile = compile

return forks
