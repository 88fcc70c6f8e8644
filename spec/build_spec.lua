-- The tree's own rules. Not about what crux does: excluded where the same code runs once more, under a tool or another
-- Lua (#tree).

local function lines(command)
  local out = {}
  local pipe = assert(io.popen(command .. " 2>&1"))
  for line in pipe:lines() do out[#out + 1] = line end
  pipe:close()
  return out
end

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

local FILES = lines("find . \\( -name .git -o -name build \\) -prune -o -type f -print | sort")

local function matching(pattern)
  local out = {}
  for _, path in ipairs(FILES) do
    local found = path:match(pattern)
    if found then out[#out + 1] = found end
  end
  return out
end

-- "path:line: text" for every line of those files that the function finds fault with.
local function faults(pattern, is_fault)
  local out = {}
  for _, path in ipairs(matching(pattern)) do
    local number = 0
    for line in (read(path) .. "\n"):gmatch("(.-)\n") do
      number = number + 1
      if is_fault(line, path) then out[#out + 1] = ("%s:%d: %s"):format(path, number, line) end
    end
  end
  return out
end

describe("the tree #tree", function()
  -- The folders are the layers: csrc/http may see curl, csrc/os neither curl nor Lua; the other files see Lua.
  it("keeps Lua out of csrc/http and csrc/os, and curl out of csrc/os", function()
    local flags = table.concat(lines("pkg-config --cflags lua5.4 libcurl"), " ")
    local hidden = { os = { "lua.h", "lauxlib.h", "lualib.h", "luaconf.h", "compat.h", "curl.h" } }
    hidden.http = { "lua.h", "lauxlib.h", "lualib.h", "luaconf.h", "compat.h", "endpoint.h" }
    for folder, headers in pairs(hidden) do
      for _, path in ipairs(matching("^%./(csrc/" .. folder .. "/.*%.c)$")) do
        local needs = table.concat(lines(("${CC:-cc} -std=gnu11 -M %s %s"):format(flags, path)), " ")
        assert.is_truthy(needs:find(path, 1, true), needs)
        for _, header in ipairs(headers) do
          assert.is_nil(needs:match("%f[%w]" .. header:gsub("%.", "%%.")), path .. " sees " .. header)
        end
      end
    end
  end)

  -- What came to curl's headers since 7.64 is only used where it is there. The headers at hand are made to look so old.
  it("compiles with the headers of libcurl 7.64", function()
    local directory = lines("mktemp -d")[1]
    finally(function() os.execute("rm -r " .. directory) end)
    assert(os.execute("mkdir " .. directory .. "/curl"))
    local header = assert(io.open(directory .. "/curl/curl.h", "w"))
    header:write([[
#include_next <curl/curl.h>
#undef LIBCURL_VERSION_NUM
#define LIBCURL_VERSION_NUM 0x074000
#undef CURL_PREREQFUNC_OK
#pragma GCC poison CURLOPT_PREREQFUNCTION CURLOPT_PREREQDATA CURLOPT_MAXAGE_CONN CURLOPT_QUICK_EXIT
#pragma GCC poison CURLMOPT_QUICK_EXIT CURLE_PROXY CURLE_HTTP3 CURLE_SSL_CLIENTCERT CURLUPART_ZONEID
]])
    header:close()
    assert.same({}, lines(("for file in csrc/*.c csrc/*/*.c; do ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -fsyntax-only "
      .. "-DCURL_DISABLE_TYPECHECK -I %s $(pkg-config --cflags lua5.4 libcurl) $file; done"):format(directory)))
  end)

  it("asks for Lua's version in compat.h alone", function()
    assert.same({}, faults("^%./csrc/.*%.[ch]$", function(line, path)
      return line:find("LUA_VERSION_NUM") and path ~= "./csrc/compat.h"
    end))
  end)

  it("exports luaopen_crux_core and nothing else", function()
    local directory = assert(package.cpath:match("([^;]*/build/[^;]*)%?%.so"), "expected to be run by make")
    local exported = {}
    for _, line in ipairs(lines("nm -D --defined-only '" .. directory .. "crux/core.so'")) do
      exported[#exported + 1] = line:match("(%S+)$")
    end
    assert.same({ "luaopen_crux_core" }, exported)
  end)

  it("lists the same files in the rockspec", function()
    local rock = {}
    local chunk
    if setfenv then
      chunk = setfenv(assert(loadfile("rockspec/crux-scm-1.rockspec")), rock)
    else
      chunk = assert(loadfile("rockspec/crux-scm-1.rockspec", "t", rock))
    end
    chunk()
    local listed = {}
    for name, module in pairs(rock.build.modules) do
      if type(module) == "string" then
        assert.equal(module:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."), name)
        listed[#listed + 1] = module
      else
        for _, source in ipairs(module.sources) do listed[#listed + 1] = source end
      end
    end
    local there = matching("^%./(csrc/.*%.c)$")
    for _, path in ipairs(matching("^%./(lua/.*%.lua)$")) do there[#there + 1] = path end
    table.sort(listed)
    table.sort(there)
    assert.same(there, listed)
  end)

  it("says its version once", function()
    local found = faults("^%./[cl]%w+/.*", function(line) return line:find("[\"']%d+%.%d+%.%d+[\"']") end)
    assert.equal(1, #found, table.concat(found, "\n"))
    assert.equal(found[1]:match("[\"'](%d+%.%d+%.%d+)[\"']"), require "crux"._VERSION)
  end)

  -- Methods, and what `require "crux"` returns; constructors and servers are the project's own affair.
  it("documents every public function", function()
    local documented = false
    assert.same({}, faults("^%./lua/[^/]*/?[^/]*%.lua$", function(line)
      local public = line:find("^function [%w_]+:%a") or line:find("^function crux%.%a")
      local bare = public and not documented
      if line:find("^%-%-%-") then documented = true elseif not line:find("^%-%-") then documented = false end
      return bare
    end))
  end)

  it("has a README of fewer than 200 lines", function()
    local _, count = (read("README.md") or ""):gsub("\n", "\n")
    assert.is_true(count < 200, "expected fewer than 200 lines, found " .. count)
  end)

  it("knows no machine", function()
    assert.same({}, faults("^.*$", function(line)
      return line:find("/" .. "home/") or line:find("/" .. "root/") or line:find("/" .. "work/")
    end))
  end)

  it("has no tabs and no trailing spaces", function()
    assert.same({}, faults("^.*%.[chlua]+$", function(line) return line:find("\t") or line:find("%s$") end))
  end)
end)
