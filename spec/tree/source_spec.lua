-- The limits of the source files (length of lines, functions and files), and that no file depends
-- on itself by way of others. Excluded where the same code runs once more (#tree).
local files = require "spec.support.files"

local lines, read = files.lines, files.read

local COLUMNS, FILE_LINES, FUNCTION_LINES, FUNCTION_P90 = 100, 500, 60, 25

local SOURCES = lines("find csrc -name '*.[ch]' | sort")
local C_FILES = lines("find csrc spec -name '*.[ch]' | sort")
local LUA_FILES = lines("find lua -name '*.lua' | sort")

-- In characters, not bytes.
local function width(line)
  return select(2, line:gsub("[^\128-\191]", ""))
end

-- The functions that a C file defines: { name, first line, number of lines }. A definition starts
-- in column 0, and so does the brace that closes a body of several lines.
local function functions(text)
  local found, number, name, first = {}, 0, nil, nil
  local header, in_macro -- the lines from column 0 to the opening brace; a #define that continues
  local code = text:gsub("/%*.-%*/", function(comment) return (comment:gsub("[^\n]", "")) end)
  local function add() found[#found + 1] = { name, first, number - first + 1 } end
  for line in (code .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    line = line:gsub("%s+$", "")
    if in_macro or line:find("^#") then
      in_macro = line:find("\\$")
    elseif header == "body" or header == "data" then
      if header == "body" and line:find("^}") then add() end
      if line:find("^}") then header = nil end
    elseif header or line:find("^[%a_]") then
      first = header and first or number
      header = (header or "") .. line
      name = header:match("([%w_]+)%(")
      if header:find("%)%s*{$") then
        header = "body"
      elseif header:find("{$") then
        header = "data"
      elseif header:find("[;}]$") then
        if header:find("%)%s*{.*}$") then add() end
        header = nil
      end
    end
  end
  return found
end

-- One "a -> b -> a" for each edge that closes a circle in a graph of { [name] = { [name] = true } }.
local function circles(graph)
  local found, path, position, is_done = {}, {}, {}, {}
  local function sorted(set)
    local names = {}
    for name in pairs(set) do names[#names + 1] = name end
    table.sort(names)
    return names
  end
  local function visit(name)
    path[#path + 1] = name
    position[name] = #path
    for _, other in ipairs(sorted(graph[name] or {})) do
      if position[other] then
        found[#found + 1] = table.concat(path, " -> ", position[other]) .. " -> " .. other
      elseif not is_done[other] then
        visit(other)
      end
    end
    path[#path] = nil
    position[name] = nil
    is_done[name] = true
  end
  for _, name in ipairs(sorted(graph)) do
    if not is_done[name] then visit(name) end
  end
  return found
end

describe("the counter of functions #tree", function()
  it("finds each definition and its length", function()
    local text = table.concat({
      "/* f() {", "} */", "#define X(a) \\", "  f(a) {", "int declared(void);",
      "static int table[] = {", "  1,", "};", "int one(void) { return 1; }",
      "static int two(int a,", "               int b) { /* two */", "  if (a) {", "", "  }", "}",
      "typedef struct {", "  int a;", "} pair;", "int last(void) {", "}",
    }, "\n")
    assert.same({ { "one", 9, 1 }, { "two", 10, 6 }, { "last", 19, 2 } }, functions(text))
  end)
end)

describe("the finder of circles #tree", function()
  it("names the files of each circle, and none where there is none", function()
    local graph = { a = { b = true, c = true }, b = { c = true }, c = { d = true } }
    assert.same({}, circles(graph))
    graph.d = { b = true, d = true }
    assert.same({ "b -> c -> d -> b", "d -> d" }, circles(graph))
  end)
end)

describe("the source #tree", function()
  it("opens each file of csrc with its name and what it is", function()
    local silent = {}
    for _, path in ipairs(SOURCES) do
      local name = path:match("([%w_]+)%.[ch]$")
      if read(path):sub(1, #name + 5) ~= "/* " .. name .. ": " then silent[#silent + 1] = path end
    end
    assert.same({}, silent)
  end)

  it(("has lines of at most %d columns in csrc and lua"):format(COLUMNS), function()
    local long = {}
    for _, list in ipairs{ SOURCES, LUA_FILES } do
      for _, path in ipairs(list) do
        local number = 0
        for line in (read(path) .. "\n"):gmatch("(.-)\n") do
          number = number + 1
          if width(line) > COLUMNS then long[#long + 1] = ("%s:%d"):format(path, number) end
        end
      end
    end
    assert.same({}, long)
  end)

  it(("has files of at most %d lines in csrc and lua"):format(FILE_LINES), function()
    local long = {}
    for _, list in ipairs{ SOURCES, LUA_FILES } do
      for _, path in ipairs(list) do
        local _, count = read(path):gsub("\n", "\n")
        if count > FILE_LINES then long[#long + 1] = ("%s: %d"):format(path, count) end
      end
    end
    assert.same({}, long)
  end)

  it(("has C functions of at most %d lines, nine in ten of at most %d"):format(
    FUNCTION_LINES, FUNCTION_P90), function()
    local lengths, long = {}, {}
    for _, path in ipairs(C_FILES) do
      for _, found in ipairs(functions(read(path))) do
        local name, first, count = found[1], found[2], found[3]
        lengths[#lengths + 1] = count
        if count > FUNCTION_LINES then
          long[#long + 1] = ("%s:%d: %s: %d"):format(path, first, name, count)
        end
      end
    end
    assert.same({}, long)
    assert.is_true(#lengths > 500, #lengths .. " functions")
    table.sort(lengths)
    local p90 = lengths[math.ceil(#lengths * 0.9)]
    assert.is_true(p90 <= FUNCTION_P90, ("expected at most %d, found %d"):format(FUNCTION_P90, p90))
  end)

  it("has no circle of #include between the files of csrc", function()
    local graph, is_there = {}, {}
    for _, path in ipairs(SOURCES) do is_there[path] = true end
    for _, path in ipairs(SOURCES) do
      -- a.c and a.h are one
      local name = path:gsub("%.[ch]$", "")
      graph[name] = graph[name] or {}
      for include in read(path):gmatch('#include "(.-)"') do
        local folder = path:match("^(.*)/")
        while include:find("^%.%./") do
          include, folder = include:sub(4), folder:match("^(.*)/")
        end
        local header = folder .. "/" .. include
        assert.is_true(is_there[header], path .. " includes " .. header)
        local other = header:gsub("%.h$", "")
        if other ~= name then graph[name][other] = true end
      end
    end
    assert.same({}, circles(graph))
  end)

  -- A file depends on the file that defines a symbol which it uses.
  it("has no circle of calls between the files of csrc", function()
    -- make puts the directory of core.so first
    local build = assert((";" .. package.cpath):match(";(/[^;]*/)%?%.so"))
    local defined_in, used_by, graph, count = {}, {}, {}, 0
    for _, path in ipairs(SOURCES) do
      local name = path:match("^csrc/(.*%.c)$")
      if name then
        used_by[name] = {}
        local object = build .. "obj/" .. name:gsub("c$", "o")
        for _, line in ipairs(lines("nm -P '" .. object .. "'")) do
          local symbol, kind = line:match("^(%S+) (%a)")
          assert.is_truthy(symbol, line)
          if kind == "U" then used_by[name][symbol] = true end
          if kind:find("[TDBRC]") then defined_in[symbol] = name end
        end
      end
    end
    for name, symbols in pairs(used_by) do
      graph[name] = {}
      for symbol in pairs(symbols) do
        if defined_in[symbol] then
          graph[name][defined_in[symbol]] = true
          count = count + 1
        end
      end
    end
    assert.is_true(count > 200, count .. " symbols")
    assert.same({}, circles(graph))
  end)
end)
