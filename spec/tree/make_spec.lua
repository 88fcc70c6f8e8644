-- The Makefile: where it builds, what it prints when something is missing, and that `make help`, `make sandbox` and
-- `make doc` do what they say. Not about what crux does, so it runs under one Lua alone (#tree).
local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- What a command prints on both streams, without the last newline, and its exit status.
local function output(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null; echo ended $?"))
  local text = pipe:read("*a")
  pipe:close()
  local printed, status = text:match("^(.-)\n?ended (%d+)\n$")
  return printed, tonumber(status)
end

-- Runs another make, which is not to take over the settings of the one that runs this.
local function make(arguments, directory)
  return output(("cd %s && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u OUT -u CURL -u CURL_CFLAGS -u CURL_LIBS "
    .. "-u LUA -u VARIANT make %s"):format(quoted(directory or "."), arguments))
end

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function has(text, expected)
  assert.is_truthy(text:find(expected, 1, true), ("expected %s, found %s"):format(expected, text))
end

describe("make OUT=dir #tree", function()
  local directory, printed, status, before
  local tree, out

  local function list()
    return (output(("cd %s && find . -type f -exec cksum {} + && find . | sort"):format(quoted(tree))))
  end

  -- A copy of the tree that cannot be written to, and a first build by `make sandbox`.
  setup(function()
    directory = output('mktemp -d "${TMPDIR:-/tmp}/crux-make.XXXXXX"')
    tree, out = directory .. "/a tree", directory .. "/out"
    assert.equal("", (output(("mkdir %s %s && cp -r Makefile config.ld csrc docs examples lua spec %s && chmod -R a-w %s"):format(
      quoted(tree), quoted(out), quoted(tree), quoted(tree)))))
    before = list()
    printed, status = make(("sandbox OUT=%s CFLAGS=-O0 ARGS='--machine --until-eof --plain --orders 2'"):format(quoted(out)), tree)
  end)

  teardown(function() os.execute(("chmod -R u+w %s && rm -rf %s"):format(quoted(directory), quoted(directory))) end)

  it("builds what can be loaded", function()
    assert.equal(0, status, printed)
    local version = output(("env -u LUA_INIT -u LUA_PATH_5_4 -u LUA_CPATH_5_4 LUA_PATH=%s LUA_CPATH=%s lua5.4 -e %s"):format(
      quoted(tree .. "/lua/?.lua;;"), quoted(out .. "/lua5.4/?.so;;"), quoted('print(require "crux"._VERSION)')))
    assert.equal(require "crux"._VERSION, version)
  end)

  it("writes nothing into the tree", function()
    assert.equal(before, list())
    assert.equal(0, select(2, output("test -e " .. quoted(out .. "/lua5.4/obj/crux.o"))))
  end)

  it("has `make sandbox` build first, and pass ARGS on", function()
    local object, url = printed:find("crux/core.so", 1, true), printed:find("\nbase_url=http://", 1, true)
    assert.is_truthy(object and url and object < url, printed)
    local orders = printed:match("\norders=([%x,-]+)")
    assert.equal(2, select(2, orders:gsub("%x+%-%x+%-%x+%-%x+%-%x+", "")), printed)
  end)

  -- The server has ended by the time that the commands run, so they find nobody there: exit status 2.
  it("has `make sandbox` print commands that work in another directory", function()
    local text = make(("-s sandbox OUT=%s CFLAGS=-O0 ARGS='--plain --until-eof'"):format(quoted(out)), tree)
    local commands, count = {}, 0
    for command in text:match("\nIn another terminal:\n(.*)$"):gmatch("\n  ([^\n]+)") do
      commands[#commands + 1], count = command, count + 1
    end
    assert.equal(4, count, text)
    local stderr, exit = output("cd / && " .. table.concat(commands, "\n"))
    assert.equal(2, exit, stderr)
    has(stderr, "cancel: not_sent (connect): ")
  end)

  it("is what `make clean` removes, and nothing else in that directory", function()
    local others = quoted(out .. "/mine") .. " " .. quoted(out .. "/lua5.4.txt")
    assert.equal(0, select(2, output("mkdir -p " .. quoted(out .. "/mine") .. " && touch " .. quoted(out .. "/lua5.4.txt"))))
    assert.equal(0, select(2, make("clean OUT=" .. quoted(out), tree)))
    assert.equal("lua5.4.txt\nmine", (output("ls " .. quoted(out))))
    assert.equal(0, select(2, output("rm -r " .. others)))
  end)
end)

-- One line: what was expected, and what to do.
describe("make, if something is missing, #tree", function()
  for _, row in ipairs{
    { "LUA=lua5.9", "the headers of lua5.9", "set LUA to one of lua5.1 lua5.2 lua5.3 lua5.4 luajit" },
    { "LUA_PC=nonesuch", "the headers of nonesuch", "run 'make deps' (Debian)" },
    { "LUA=lua5.1 LUA_PC=nonesuch", "the headers of nonesuch", "run 'make deps LUA=lua5.1' (Debian)" },
    { "LUA_INCDIR=/nonexistent", "the headers of lua5.4 in /nonexistent", "set LUA_PC or LUA_INCDIR" },
    { "CC=nonesuch", "a C compiler 'nonesuch'", "run 'make deps' (Debian) or set CC" },
    { "PKG_CONFIG=nonesuch", "pkg-config", "run 'make deps' (Debian) or set LUA_INCDIR and CURL" },
    { "CURL=/nonexistent", "the headers of libcurl in /nonexistent", "set CURL to the directory" },
    { "CURL_CFLAGS=-nostdinc", "the headers of the C library", "run 'make deps' (Debian)" },
    { "install LUA=nonesuch LUA_PC=lua5.4 -n", "the interpreter nonesuch", "set LUA_API to its version" },
    { "uninstall LUA=nonesuch -n", "the interpreter nonesuch", "set LUA_API to its version" },
  } do
    it(("prints one line: %s"):format(row[1]), function()
      local directory = output('mktemp -d "${TMPDIR:-/tmp}/crux-make.XXXXXX"')
      finally(function() os.execute("rm -rf " .. quoted(directory)) end)
      local printed, status = make(("-s OUT=%s %s"):format(quoted(directory), row[1]))
      printed = row[1]:find(" %-n$") and printed:match("[^\n]*%*%*%*[^\n]*$") or printed
      assert.equal(2, status, printed)
      assert.is_nil(printed:find("\n"), printed)
      has(printed, ("expected %s, found none: "):format(row[2]))
      has(printed, row[3])
    end)
  end
end)

describe("make help #tree", function()
  local makefile, help = read("Makefile"), make("help")

  it("lists every target", function()
    -- these are steps of others
    local internal = { hosted = true, FORCE = true }
    local phony = makefile:match("\n%.PHONY: (.-[^\\])\n"):gsub("\\\n", " ")
    local count = 0
    for target in phony:gmatch("%S+") do
      count = count + 1
      assert.equal(not internal[target], help:find(("\n  %s "):format(target), 1, true) ~= nil, target)
    end
    assert.is_true(count > 20)
  end)

  it("lists every setting that has a default", function()
    -- these follow from others, or are for one target, whose line names them
    local derived = {
      VARIANT = true, PKG_CONFIG = true, BUSTED = true, LIBFLAG = true, CURL_CFLAGS = true, CURL_LIBS = true,
      FUZZ_SECONDS = true,
    }
    local count = 0
    for setting in makefile:gmatch("\n *([%u_]+) *%?= ") do
      count = count + 1
      if not derived[setting] then assert.is_truthy(help:find("%f[%u_]" .. setting .. "%f[^%u_]"), setting) end
    end
    assert.is_true(count > 10)
  end)
end)

describe("the rockspec #tree", function()
  it("admits Lua 5.1 to 5.5, and nothing later", function()
    local low, high = read("rockspec/crux-scm-1.rockspec"):match('"lua >= (%d%.%d), < (%d%.%d)"')
    assert.same({ "5.1", "5.6" }, { low, high })
  end)
end)

describe("make doc #tree", function()
  local crux = require "crux"
  local core = require "crux.core"
  local directory, printed, status
  local installed = output("command -v ldoc") ~= ""

  setup(function()
    if not installed then return end
    directory = output('mktemp -d "${TMPDIR:-/tmp}/crux-make.XXXXXX"')
    printed, status = make(("doc OUT=%s CFLAGS=-O0"):format(quoted(directory)))
  end)

  teardown(function() os.execute("rm -rf " .. quoted(directory or "/nonexistent")) end)

  -- The functions of a table, but those that the source marks as internal and constructors of a class.
  local function functions(object, source)
    local text, names = read(source), {}
    for name, value in pairs(object) do
      local is_local = text:find("%-%- @local\nfunction %u%w*[.:]" .. name .. "%f[^%w_]")
        or text:find("%-%- @local\n%u%w*%." .. name .. " = ")
      if type(value) == "function" and not name:find("^_") and not is_local then names[#names + 1] = name end
    end
    return names
  end

  local client = assert(crux.new{ base_url = "http://127.0.0.1:1", token = "x" })
  local submitted = assert(client:submit("get_order", { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" }))
  client:close()
  local CLIENT, PENDING = getmetatable(client).__index, getmetatable(submitted).__index
  for page, found in pairs{
    ["modules/crux"] = { "", functions(crux, "lua/crux.lua") },
    ["modules/crux.resty"] = { "", functions(crux, "lua/crux.lua") },
    ["modules/crux.core"] = { "", core.endpoints },
    ["classes/crux.client"] = { "Client:", functions(CLIENT, "lua/crux/client.lua"), { new = true } },
    ["classes/crux.pending"] = { "Pending:", functions(PENDING, "lua/crux/pending.lua"), { new = true } },
  } do
    it("lists every public function in " .. page, function()
      if not installed then return pending("needs LDoc: make deps-doc") end
      assert.equal(0, status, printed)
      local text, missing = read(directory .. "/doc/" .. page .. ".html"), {}
      assert.is_true(#found[2] > 0)
      for _, name in ipairs(found[2]) do
        local anchor = ('<a name = "%s%s"></a>'):format(found[1], name)
        if not (found[3] and found[3][name]) and not text:find(anchor, 1, true) then missing[#missing + 1] = name end
      end
      assert.same({}, missing)
    end)
  end
end)
