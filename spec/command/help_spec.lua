-- The help of every command, the manual and the completions, which have to agree.
local command = require "spec.support.command"
local files = require "spec.support.files"
local helper = require "spec.helper"
local parser = require "crux.cli.parser"

local exit = require "crux.cli.exit"

local root = parser.new()
local MANUAL = files.read("docs/crux.1")

local NAMES = {
  "login", "cancel", "resume", "report", "reconcile", "status", "get", "list", "cancel-item",
  "confirm",
  "reject", "fleet", "sandbox", "completion",
}

-- The long names of the options of a parser's command, or of the parser itself.
local function options_of(element)
  local names = {}
  for _, option in ipairs(element._options) do
    for _, name in ipairs(option._public_aliases or option._aliases) do
      if name:find("^%-%-") then names[#names + 1] = name end
    end
  end
  table.sort(names)
  return names
end

describe("the help of crux", function()
  local place
  before_each(function() place = command.place() end)
  after_each(function() place:remove() end)

  local function help(words)
    local ran = place:run(words)
    assert.equal(0, ran.code, ran.err)
    assert.equal("", ran.err)
    local width = words:find("sandbox", 1, true) and 100 or 80
    for line in ran.out:gmatch("[^\n]+") do assert.is_true(#line <= width, line) end
    return ran.out
  end

  it("has every command and every exit code", function()
    local text = help("--help")
    assert.equal(text, help("-h"))
    local found = {}
    for name in text:match("\nCommands:\n(.-)\n\n"):gmatch("\n?   (%l[%l-]*)  ") do
      found[#found + 1] = name
    end
    assert.same(NAMES, found)
    for _, row in ipairs(exit.DOC) do
      assert.is_truthy(text:find(("   %-15s %s"):format(row[1], row[2]), 1, true), row[2])
    end
    assert.is_truthy(text:find("Any other code is a failure.", 1, true))
  end)

  it("has the version", function()
    assert.equal("crux " .. require "crux"._VERSION .. "\n", help("--version"))
  end)

  for _, name in ipairs(NAMES) do
    it("has the options of crux " .. name, function()
      local text = help(name .. " --help")
      if name == "sandbox" then
        assert.is_truthy(text:find("usage: crux sandbox OPTION...", 1, true), text)
        assert.is_truthy(text:find("\n  --orders N ", 1, true), text)
        return
      end
      assert.is_truthy(text:find("^Usage: crux " .. name:gsub("%-", "%%-") .. "%f[^%w-]"), text)
      for _, element in ipairs(root._commands) do
        if element._name == name then
          local options = options_of(element)
          assert.is_true(#options >= 1)
          for _, option in ipairs(options) do
            assert.is_truthy(text:find(option, 1, true), option)
          end
        end
      end
    end)
  end

  it("has --json, --quiet and, where the service is reached, --timeout", function()
    for _, element in ipairs(root._commands) do
      local has = {}
      for _, option in ipairs(options_of(element)) do has[option] = true end
      local name = element._name
      local prints = name ~= "sandbox" and name ~= "completion"
      assert.equal(prints, has["--json"] == true and has["--quiet"] == true, name)
      assert.equal(prints and name ~= "report", has["--timeout"] == true, name)
      -- a journal has the service and the generation
      local chooses = prints and name ~= "report" and name ~= "resume" and name ~= "reconcile"
      assert.equal(chooses, has["--api"] == true and has["--production"] == true, name)
    end
  end)

  it("names the package if argparse is missing", function()
    local path = place:path("program.lua", [[
      package.preload.argparse = function() error("none") end
      os.exit(require "crux.cli"{ "list" })]])
    local lines = files.lines(("{ %s %s; echo $?; }"):format(helper.lua, files.quoted(path)))
    assert.same({
      "crux: expected the Lua module argparse, found none",
      "  install it: lua-argparse of Debian, or argparse of LuaRocks", "70",
    }, lines)
  end)
end)

describe("the manual of crux", function()
  -- The text with the macros of mdoc for flags undone.
  local plain = MANUAL:gsub("\\%-", "-")

  it("has every command and every option of the parser", function()
    for _, element in ipairs(root._commands) do
      assert.is_truthy(plain:find("\n.It Cm [^\n]*%f[%w]" .. element._name:gsub("%-", "%%-")),
        element._name)
      for _, option in ipairs(options_of(element)) do
        assert.is_truthy(plain:find("%f[-]" .. option:sub(2):gsub("%-", "%%-") .. "%f[^%w-]"),
          option)
      end
    end
  end)

  it("has no option that the parser does not have", function()
    local known = { ["--version"] = true }
    for _, element in ipairs(root._commands) do
      for _, option in ipairs(options_of(element)) do known[option] = true end
    end
    local count = 0
    for name in MANUAL:gmatch("\\%-(%l[%l-]+)") do
      count = count + 1
      assert.is_true(known["--" .. name], name)
    end
    assert.is_true(count > 40)
  end)

  it("has the exit codes", function()
    for _, row in ipairs(exit.DOC) do
      assert.is_truthy(plain:find("\n.It " .. row[1] .. "\n" .. row[2] .. "\n", 1, true), row[1])
    end
  end)

  it("passes mandoc's checks", function()
    assert.same({}, files.lines("mandoc -T lint -W warning docs/crux.1"))
  end)
end)

describe("the completions of crux", function()
  local place
  before_each(function() place = command.place() end)
  after_each(function() place:remove() end)

  it("complete commands and options in bash", function()
    local ran = place:run("completion bash")
    assert.equal(0, ran.code)
    local script = place:path("completion", ran.out)
    local function complete(words)
      local list = {}
      for word in words:gmatch("%S+") do list[#list + 1] = files.quoted(word) end
      local code = "source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _crux; "
        .. [[printf '%%s\n' "${COMPREPLY[@]}"]]
      code = code:format(files.quoted(script), table.concat(list, " "), #list - 1)
      return files.lines("bash -c " .. files.quoted(code))
    end
    assert.same({ "cancel", "cancel-item" }, complete("crux can"))
    assert.same({ "--resend-open", "--retries" }, (function()
      local found = complete("crux resume --re")
      table.sort(found)
      return found
    end)())
  end)

  for _, shell in ipairs{ "zsh", "fish" } do
    it("have every command for " .. shell, function()
      local ran = place:run("completion " .. shell)
      assert.equal(0, ran.code)
      for _, name in ipairs(NAMES) do assert.is_truthy(ran.out:find(name, 1, true), name) end
    end)
  end
end)
