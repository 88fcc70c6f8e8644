-- The tree's own rules. Not about what crux does: excluded where the same code runs once more,
-- under a tool or another Lua (#tree).
local files = require "spec.support.files"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

local lines, read = files.lines, files.read

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
  -- The folders are the layers: csrc/http may see curl, csrc/os neither curl nor Lua; the other
  -- files see Lua. csrc/command is a module of its own, without curl.
  it("keeps Lua out of csrc/http and csrc/os, and curl out of csrc/os and csrc/command", function()
    local flags = helper.curl_cflags .. " $(pkg-config --cflags lua5.4)"
    local hidden = { os = { "lua.h", "lauxlib.h", "lualib.h", "luaconf.h", "compat.h", "curl.h" } }
    hidden.http = { "lua.h", "lauxlib.h", "lualib.h", "luaconf.h", "compat.h", "api.h" }
    hidden.command = { "curl.h", "api.h" }
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

  it("uses no name of libcurl's that spec/support/libcurl.lua does not list", function()
    local names, unlisted = libcurl.names(), {}
    for _, path in ipairs(matching("^%./(csrc/.*%.[ch])$")) do
      local code = read(path):gsub("/%*.-%*/", " "):gsub('"[^"\n]*"', '""')
      for name in code:gmatch("%f[%w_][cC][uU][rR][lL][%w_]*") do
        local is_libcurls = name:find("^CURL") or name:find("^curl_")
        if is_libcurls and not names[name] then unlisted[#unlisted + 1] = path .. ": " .. name end
      end
    end
    assert.same({}, unlisted)
  end)

  it("asks for libcurl's version only where spec/support/libcurl.lua lists it", function()
    local constants, branches = {}, {}
    for name, number in read("csrc/http/libcurl.h"):gmatch("#define CRUX_CURL_(%S+) (0x%x+)") do
      constants[name] = tonumber(number)
    end
    assert.same(libcurl.RUN_TIME, constants)
    local others = faults("^%./csrc/.*%.[ch]$", function(line, path)
      local branch = line:match("^#if LIBCURL_VERSION_NUM >= (0x%x+)$")
      if branch then branches[tonumber(branch)] = true end
      if line:find("LIBCURL_VERSION") then return not branch end
      if path:find("/http/libcurl%.[ch]$") then return line:find("[<>]=? 0x") end
      return line:find("CURLVERSION") or line:find("version_num") or line:find("CURL_AT_LEAST")
        or line:find("crux_libcurl_version")
          and not line:find("crux_libcurl_version%(%) [<>]=? CRUX_CURL_[%u_]+")
    end)
    assert.same({}, others)
    local listed = {}
    for number in pairs(libcurl.COMPILE_TIME) do listed[number] = true end
    assert.same(listed, branches)
  end)

  it("documents in docs/internals.md each libcurl version that it asks for", function()
    local page = read("docs/internals.md")
    for _, number in ipairs(libcurl.branches()) do
      local row = ("\n| %s | "):format(libcurl.text(number):match("^%d+%.%d+"))
      assert.is_truthy(page:find(row, 1, true), "expected a row" .. row)
    end
  end)

  -- What came to libcurl's headers later is named only where it is there.
  for number in pairs(libcurl.COMPILE_TIME) do
    it("compiles with headers of a libcurl before " .. libcurl.text(number), function()
      local directory = lines("mktemp -d")[1]
      finally(function() os.execute("rm -r " .. directory) end)
      assert(os.execute("mkdir " .. directory .. "/curl"))
      local file = assert(io.open(directory .. "/curl/curl.h", "w"))
      file:write(libcurl.header_before(number))
      file:close()
      local command = [[for file in csrc/*.c csrc/*/*.c; do
        ${CC:-cc} -std=gnu11 -Wall -Wextra -Werror -fsyntax-only -DCURL_DISABLE_TYPECHECK \
          -I %s %s $(pkg-config --cflags lua5.4) $file
      done]]
      assert.same({}, lines(command:format(directory, helper.curl_cflags)))
    end)
  end

  it("asks for Lua's version in compat.h alone", function()
    assert.same({}, faults("^%./csrc/.*%.[ch]$", function(line, path)
      return line:find("LUA_VERSION_NUM") and path ~= "./csrc/binding/compat.h"
    end))
  end)

  for _, module in ipairs{ "core", "os" } do
    it("exports luaopen_crux_" .. module .. " and nothing else", function()
      local directory = assert((";" .. package.cpath):match(";(/[^;]*/)%?%.so"), "expected to be run by make")
      local exported = {}
      for _, line in ipairs(lines(("nm -D --defined-only '%scrux/%s.so'"):format(directory, module))) do
        exported[#exported + 1] = line:match("(%S+)$")
      end
      assert.same({ "luaopen_crux_" .. module }, exported)
    end)
  end

  -- The command may handle signals, print and exit; a guest in a host may not.
  it("loads crux.os and lua/crux/cli in the command alone", function()
    assert.same({}, faults("^%./lua/.*%.lua$", function(line, path)
      return not path:find("^%./lua/crux/cli") and line:find('require "crux%.[oc][sl]i?[".]')
    end))
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

  it("has its version in one place", function()
    local found = faults("^%./[cl]%w+/.*", function(line) return line:find("[\"']%d+%.%d+%.%d+[\"']") end)
    assert.equal(1, #found, table.concat(found, "\n"))
    assert.equal(found[1]:match("[\"'](%d+%.%d+%.%d+)[\"']"), require "crux"._VERSION)
  end)

  -- Methods, and what `require "crux"` returns; constructors and servers are the project's own
  -- affair.
  it("documents every public function", function()
    local documented = false
    assert.same({}, faults("^%./lua/[^/]*/?[^/]*%.lua$", function(line)
      local public = line:find("^function [%w_]+:%a") or line:find("^function crux%.%a")
      local bare = public and not documented
      if line:find("^%-%-%-") then documented = true elseif not line:find("^%-%-") then documented = false end
      return bare
    end))
  end)

  -- Modules that run in a host: not the sandbox and the command, which are programs of their own.
  local function guests()
    local paths = matching("^%./(lua/crux%.lua)$")
    for _, pattern in ipairs{ "^%./(lua/crux/[^/]*%.lua)$", "^%./(lua/crux/resty/.*%.lua)$" } do
      for _, path in ipairs(matching(pattern)) do
        if path ~= "lua/crux/sandbox.lua" and path ~= "lua/crux/cli.lua" then paths[#paths + 1] = path end
      end
    end
    return paths
  end

  -- A host may take a global away or replace it at any time after it has loaded crux.
  it("uses globals of the host only while a module is loaded", function()
    local late = {}
    for _, path in ipairs(guests()) do
      local is_main, instructions = false, 0
      for _, line in ipairs(lines("luac5.4 -l -p " .. path)) do
        if line:find("^%a+ <") then is_main = line:find("^main") ~= nil end
        instructions = instructions + (line:find("^\t%d") and 1 or 0)
        if not is_main and line:find("TABUP") and line:find("_ENV") then
          late[#late + 1] = path .. ":" .. line:match("%[(%d+)%]") .. ": " .. line:match("_ENV (.*)")
        end
      end
      assert.is_true(instructions > 5, "expected luac5.4 to list " .. path)
    end
    assert.same({}, late)
  end)

  -- string's metatable is the host's too.
  it("calls no function of string as a method in a module that runs in a host", function()
    local called = {}
    for _, path in ipairs(guests()) do
      local number = 0
      for line in (read(path) .. "\n"):gmatch("(.-)\n") do
        number = number + 1
        local code = line:gsub("%-%-.*", "")
        for name in code:gmatch(":(%a+)[%({\"'%[]") do
          if string[name] then called[#called + 1] = ("%s:%d: %s"):format(path, number, line) end
        end
      end
    end
    assert.same({}, called)
  end)

  it("has no circle among the modules of lua/", function()
    local needs = {}
    for _, path in ipairs(matching("^%./lua/(.*%.lua)$")) do
      local list = {}
      local code = read("lua/" .. path):gsub("%-%-[^\n]*", "")
      for name in code:gmatch('require "(crux[%w_.]*)"') do list[#list + 1] = name end
      needs[path:gsub("%.lua$", ""):gsub("/", ".")] = list
    end
    local state = {}
    local function visit(name, trail)
      trail = trail .. " -> " .. name
      assert.is_true(state[name] ~= "entered", trail)
      if state[name] then return end
      state[name] = "entered"
      for _, needed in ipairs(needs[name] or {}) do visit(needed, trail) end
      state[name] = "left"
    end
    for name in pairs(needs) do visit(name, "") end
  end)

  -- A module owns the fields that its constructor names. A pending's `_slot` is its scheduler's.
  it("reaches into no private field of another module's objects", function()
    local reached = {}
    for _, path in ipairs(guests()) do
      local code = read(path):gsub("%-%-[^\n]*", "")
      local owned = {}
      for name in code:gmatch("[{,]%s*(_%l[%w_]*) = ") do owned[name] = true end
      for object, name in code:gmatch("([%w_]+)%.(_%l[%w_]*)") do
        if not owned[name] then reached[object .. "." .. name] = path end
      end
    end
    assert.same({ ["pending._slot"] = "lua/crux/scheduler.lua" }, reached)
  end)

  it("has a README of at most 150 lines", function()
    local _, count = read("README.md"):gsub("\n", "\n")
    assert.is_true(count <= 150, "expected at most 150 lines, found " .. count)
  end)

  it("has no path of a machine", function()
    assert.same({}, faults("^.*$", function(line)
      return line:find("/" .. "home/") or line:find("/" .. "root/") or line:find("/" .. "work/")
    end))
  end)

  it("has a first line in each source file that says what the file is", function()
    local COMMENT = {
      c = "^/%* (.*)$", h = "^/%* (.*)$", lua = "^%-%-%-? (.*)$", sh = "^# (.*)$",
    }
    local without = {}
    for _, path in ipairs(FILES) do
      local pattern = COMMENT[path:match("%.(%a+)$")]
      local folder = path:match("^%./(%l+)/")
      if pattern and folder then
        -- the language server expects its mark in front
        local text = read(path):gsub("^#![^\n]*\n", ""):gsub("^%-%-%-@meta[^\n]*\n", "")
        local line = text:match("^[^\n]*")
        local said = line:match(pattern)
        if not said or said:find("TODO", 1, true) or select(2, said:gsub("%S+", "")) < 3 then
          without[#without + 1] = path .. ": " .. line
        end
      end
    end
    assert.same({}, without)
  end)

  it("has no file under spec/ of more than 500 lines", function()
    local long = {}
    for _, path in ipairs(matching("^%./(spec/.*)$")) do
      local _, count = read(path):gsub("\n", "\n")
      if count > 500 then long[#long + 1] = ("%s: %d lines"):format(path, count) end
    end
    assert.same({}, long)
  end)

  -- A name stands in a list of failures, and is what --filter is matched against.
  it("gives each spec a name of its own that makes sense alone", function()
    local REFERS_BACK = {
      so = true, it = true, its = true, he = true, she = true, they = true, them = true, their = true, one = true,
      this = true, these = true, those = true, again = true, also = true, too = true,
    }
    assert.same({}, faults("^%./spec/.*%.lua$", function(line)
      local name = line:match("%f[%w]it%(+\"([^\"]*)\"") or line:match("%f[%w]describe%(+\"([^\"]*)\"")
      return name and not line:find("^%s*%-%-") and (not name:find("%w") or REFERS_BACK[name:match("^%s*(%a+)")])
    end))
    local command = ("(%s %s --list spec 2>/dev/null)"):format(helper.lua, helper.quoted(arg[0]))
    local count, wrong, seen = 0, {}, {}
    for _, line in ipairs(lines(command)) do
      local name = line:match("^%S+%.lua:%d+: (.*)$") or line
      count = count + 1
      if seen[name] or name:find("%s$") or not name:find("%w") then wrong[#wrong + 1] = line end
      seen[name] = true
    end
    assert.same({}, wrong)
    assert.is_true(count > 1000, ("expected more than 1000 names, found %d"):format(count))
  end)

  it("has no tabs and no trailing spaces", function()
    assert.same({}, faults("^.*%.[chlua]+$", function(line) return line:find("\t") or line:find("%s$") end))
  end)
end)
