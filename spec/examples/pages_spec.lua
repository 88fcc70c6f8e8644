-- Runs the code of README.md and docs/. How a block is run follows from the language of its fence,
-- and from comments before it, such as `<!-- needs: cqueues -->`:
--
-- - `lua`: a script under the Lua under test, against a local sandbox; `crux` and `client` are
--   there already. It prints what stands behind `-->`, and nothing else. `against: CUE` makes
--   requests fail, `needs: MODULE` skips the block where that module is not installed, and `in:
--   nginx` runs it in a content handler.
-- - `sh`: the shell, in a copy of the tree. The lines behind `#>` are printed, in this order. `in:
--   vendor`: in a directory that has the files of the page, and the tree in vendor/crux. `by:
--   FILE`: not here, but by that file.
-- - `c`: with `file: NAME`, the file of that name for the `sh` blocks of the page.
-- - `nginx`: nginx accepts it as its configuration.
-- - `text`: not code.
local nginx = require "spec.support.nginx"
local process = require "spec.support.process"
local program = require "spec.support.program"

local LUA, quoted, read = program.lua, program.quoted, program.read
local ROOT = select(2, program.command({}, "pwd")):gsub("\n$", "")

-- The blocks of a page: `line`, `language`, `source` (a list of lines), `expected` (the lines it is
-- to print) and what the comments say.
local function blocks(path)
  local found, comments, number, block = {}, {}, 0, nil
  for line in io.lines(path) do
    number = number + 1
    local fence = line:match("^```(.*)$")
    if fence and block then
      found[#found + 1], block, comments = block, nil, {}
    elseif fence then
      block = {
        path = path, line = number, language = fence, source = {}, expected = {},
        comments = comments,
      }
    elseif block then
      block.source[#block.source + 1] = line
      local mark = block.language == "sh" and "#> (.*)$" or "%-%-> (.*)$"
      block.expected[#block.expected + 1] = line:match(mark)
    else
      local name, value = line:match("^<!%-%- (%a+): (%S+) %-%->$")
      if name then comments[name] = value end
    end
  end
  assert(not block, "expected every block to end: " .. path)
  return found
end

local function pages()
  local list = { "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md" }
  local found = select(2, program.command({}, "ls docs/*.md"))
  for path in found:gmatch("[^\n]+") do list[#list + 1] = path end
  return list
end

local sandbox

after_each(function()
  if sandbox then sandbox:close() end
  sandbox = nil
end)

local function environment(block)
  return {
    CRUX_BASE_URL = sandbox.base_url .. (block.comments.against or ""),
    CRUX_TOKEN = sandbox.tokens.retailer,
  }
end

local function temporary_directory()
  local made = select(2, program.command({}, 'mktemp -d "${TMPDIR:-/tmp}/crux-pages.XXXXXX"'))
  return (made:gsub("\n$", ""))
end

-- Lines without the spaces between words, which a page uses for alignment.
local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do
    lines[#lines + 1] = line:gsub("%s+", " "):gsub("^ ", ""):gsub(" $", "")
  end
  return lines
end

local function run_lua(block)
  local needed = block.comments.needs
  if needed and program.run({}, "-e " .. quoted(("require %q"):format(needed))) ~= 0 then
    return pending(("needs %s for %s"):format(needed, LUA))
  end
  local path = os.tmpname()
  program.write(path, 'local crux = require "crux"\nlocal client = crux.new()\n'
    .. table.concat(block.source, "\n") .. "\n")
  local status, stdout, stderr = program.run(environment(block), path)
  os.remove(path)
  assert.equal("", stderr)
  assert.equal(0, status)
  assert.same(block.expected, lines_of(stdout))
end

local function run_in_nginx(block)
  local missing = nginx.missing()
  if missing then return pending(missing) end
  local server = nginx.start{ environment = environment(block) }
  finally(function() server:close() end)
  local printed = server:run("local printed = {}\nlocal ngx = setmetatable({ say = function(...)\n"
    .. "printed[#printed + 1] = table.concat({ ... }) end }, { __index = ngx })\ndo\n"
    .. table.concat(block.source, "\n") .. '\nend\nreturn table.concat(printed, "\\n")')
  assert.same(block.expected, lines_of(printed))
end

local function run_sh(block, files)
  local directory = temporary_directory()
  finally(function() program.command({}, "rm -r " .. quoted(directory)) end)
  if block.comments["in"] ~= "vendor" then
    -- what is built already, too, so that `make` has nothing to do; the tree's own build is in use
    local to = quoted(directory)
    local copy = "cp -a Makefile bin config.ld csrc docs examples lua rockspec spec %s "
      .. "&& mkdir %s/build && if [ -d build/lua5.4 ]; then cp -a build/lua5.4 %s/build; fi"
    assert.equal(0, (program.command({}, copy:format(to, to, to))))
  else
    local link = "mkdir %s/vendor && ln -s %s %s/vendor/crux"
    program.command({}, link:format(quoted(directory), quoted(ROOT), quoted(directory)))
    for name, text in pairs(files) do program.write(directory .. "/" .. name, text) end
  end
  local script = os.tmpname()
  program.write(script, "cd " .. quoted(directory) .. "\nset -e\n"
    .. table.concat(block.source, "\n") .. "\n")
  local command = "env -u LUA_PATH -u LUA_CPATH sh " .. script
  local status, stdout, stderr = program.command(environment(block), command)
  os.remove(script)
  assert.equal(0, status, stdout .. stderr)
  local from, text = 1, "\n" .. table.concat(lines_of(stdout), "\n") .. "\n"
  for _, expected in ipairs(block.expected) do
    local _, last = text:find("\n" .. lines_of(expected)[1] .. "\n", from, true)
    assert.is_truthy(last, ("expected a line %s, found %s"):format(expected, stdout))
    from = last
  end
end

-- A configuration of the main level, with what any other needs.
local function run_nginx(block)
  local missing = nginx.missing()
  if missing then return pending(missing) end
  local directory = temporary_directory()
  finally(function() program.command({}, "rm -r " .. quoted(directory)) end)
  program.write(directory .. "/handler.lua", "return { cancel = function() end }\n")
  local source = table.concat(block.source, "\n")
  local config = ("load_module /usr/lib/nginx/modules/ndk_http_module.so;\n"
    .. "load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n"
    .. "pid %s/pid;\nerror_log stderr;\nevents {}\n%s\n")
    :format(directory, source)
  config = config:gsub("\nhttp {", "\nhttp { access_log off;", 1)
  program.write(directory .. "/nginx.conf", config)
  local command = "env LUA_PATH=%s/?.lua nginx -t -p %s -c nginx.conf -e stderr"
  local status, _, stderr = program.command({},
    command:format(quoted(directory), quoted(directory)))
  assert.equal(0, status, stderr)
end

local function run_elsewhere(block)
  local text = read(block.comments.by)
  for _, line in ipairs(block.source) do
    local command = line:match("^%S+")
    assert.is_truthy(text:find(command, 1, true),
      ("expected %s in %s"):format(command, block.comments.by))
  end
end

local RUN = {
  lua = function(block)
    if block.comments["in"] == "nginx" then run_in_nginx(block) else run_lua(block) end
  end,
  sh = run_sh,
  nginx = run_nginx,
}

-- Blocks that do not depend on the Lua under test.
local ONCE = { sh = true, nginx = true }

for _, path in ipairs(pages()) do
  describe(path, function()
    local files = {}
    for _, block in ipairs(blocks(path)) do
      local name = ("line %d: %s"):format(block.line, block.language)
      local once = ONCE[block.language] or block.comments["in"] == "nginx"
      if block.comments.file then
        files[block.comments.file] = table.concat(block.source, "\n") .. "\n"
      end
      if block.comments.by then
        it(("has the code in %s run by %s"):format(name, block.comments.by),
          function() run_elsewhere(block) end)
      elseif RUN[block.language] then
        local what = ("runs the code in %s%s, with the printed output"):format(name,
          once and " #tree" or "")
        it(what, function()
          sandbox = process.sandbox{ plain = true }
          RUN[block.language](block, files)
        end)
      else
        it(("has code that another block runs, or none, in %s"):format(name), function()
          local is_file = block.language == "c" and block.comments.file ~= nil
          assert.is_true(block.language == "text" or is_file,
            ("%s:%d: expected a language that is run, or text"):format(path, block.line))
        end)
      end
    end
  end)
end

describe("the pages", function()
  it("link to files that exist, and to headings that they have", function()
    local dead = {}
    for _, path in ipairs(pages()) do
      local directory = path:match("^(.*/)") or ""
      for target in read(path):gmatch("%]%(([^)%s]+)%)") do
        local name, heading = target:match("^([^#]*)#?(.*)$")
        if not target:find("^https?://") then
          local file = name == "" and path or directory .. name
          local handle = io.open(file)
          if handle then handle:close() end
          local headings = {}
          if handle and heading ~= "" then
            for title in ("\n" .. read(file)):gmatch("\n#+ ([^\n]*)") do
              headings[title:lower():gsub("[^%w_ -]", ""):gsub(" ", "-")] = true
            end
          end
          if not handle or heading ~= "" and not headings[heading] then
            dead[#dead + 1] = path .. ": " .. target
          end
        end
      end
    end
    assert.same({}, dead)
  end)

  it("name files, folders and functions that exist", function()
    local sources = select(2, program.command({}, "cat csrc/*.[ch] csrc/*/*.[ch]"))
    local missing = {}
    for _, path in ipairs(pages()) do
      for name in read(path):gsub("```.-\n```", ""):gmatch("`([^`\n]+)`") do
        local file = name:match("^%l+/[%w_./-]+$") or name:match("^%.ci/run$")
        local known = not (file and name:find("^[cdels][%l]+/")) -- csrc, docs, examples, lua, spec
          or program.command({}, "test -e " .. quoted(file)) == 0
        local symbol = name:match("^crux_[%l_]+$")
        known = known and (not symbol or sources:find("%f[%w_]" .. symbol .. "%f[^%w_]"))
        if not known then missing[#missing + 1] = path .. ": " .. name end
      end
    end
    assert.same({}, missing)
  end)

  it("are a map: CONTRIBUTING.md names each file of csrc/ and lua/crux/, and no other", function()
    local map, missing, there = read("CONTRIBUTING.md"):match("| folder |.-\n\n"), {}, {}
    local list = "ls csrc/*.[ch] csrc/*/*.[ch] lua/crux/*.lua lua/crux/resty/*.lua lua/crux/cli/*.lua "
      .. "lua/crux/fleet/*.lua"
    local files = select(2, program.command({}, list))
    for path in files:gmatch("[^\n]+") do
      local stem = path:match("/(resty/[^/]*)%.lua$") or path:match("([^/]*)%.%l+$")
      there[stem] = true
      if not map:find("`" .. stem .. "`", 1, true) then missing[#missing + 1] = path end
    end
    for stem in map:gmatch("`([%l_/]*[%l_])`") do
      if not there[stem] and not stem:find("^csrc/") and stem ~= "bin/crux" then missing[#missing + 1] = stem end
    end
    assert.same({}, missing)
  end)

  it("are run: more than 12 blocks of Lua", function()
    local count = 0
    for _, path in ipairs(pages()) do
      for _, block in ipairs(blocks(path)) do
        if block.language == "lua" then count = count + 1 end
      end
    end
    assert.is_true(count > 12, tostring(count))
  end)
end)
