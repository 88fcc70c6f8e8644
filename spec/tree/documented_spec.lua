-- The reference page and the LuaLS definitions tell of every function, option and field that the loaded modules have,
-- and of no other (#tree). What the modules have is asked of them, never of lua/crux/api.lua or of the generator.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local files = require "spec.support.files"
local helper = require "spec.helper"

local lines, read = files.lines, files.read

local batch_source = "lua/crux/batch.lua"

local Client = getmetatable(crux.new()).__index
local NOBODYS = "qqqqqqqqqqqq"

local PAGE, LIBRARY = read("docs/reference.md"), read("library/crux.lua")
local CORE_LIBRARY = read("library/crux/core.lua")

local function sorted(list)
  table.sort(list)
  return list
end

local function all(text, pattern)
  local found = {}
  for name in text:gmatch(pattern) do found[#found + 1] = name end
  return sorted(found)
end

-- The section of the page below a heading, up to the next of that rank or a higher one.
local function section(heading)
  local marks = heading:match("^#+")
  local _, from = PAGE:find("\n" .. heading .. "\n", 1, true)
  assert(from, "docs/reference.md: expected the heading " .. heading)
  local rest = PAGE:sub(from + 1)
  for rank = 1, #marks do
    local to = rest:find("\n" .. ("#"):rep(rank) .. " ", 1, true)
    if to then rest = rest:sub(1, to) end
  end
  return rest
end

-- The first cells of the table in a section.
local function cells(heading) return all(section(heading), "\n| `([^`]+)`") end

-- The fields of a class of the definitions.
local function class(name)
  local _, from = (LIBRARY:gsub(":", "\n")):find("\n---@class " .. name .. "\n", 1, true)
  assert(from, "expected the class " .. name)
  local to = LIBRARY:find("\n\n", from, true)
  return all(LIBRARY:sub(from, to), "\n%-%-%-@field ([%w_]+)")
end

local function functions(owner, text)
  return all(text or LIBRARY, "\nfunction " .. owner .. "[.:]([%w_]+)%(")
end

local ENDPOINTS = {}
for i, name in ipairs(core.endpoints) do ENDPOINTS[i] = name end
table.sort(ENDPOINTS)

local function is_endpoint(name)
  for _, endpoint in ipairs(ENDPOINTS) do
    if endpoint == name then return true end
  end
  return false
end

-- The names that a message about an unknown field lists.
local function listed(err)
  local names = {}
  for name in assert(err.message:match("expected one of (.*)$"), err.message):gmatch("[%w_]+") do
    names[#names + 1] = name
  end
  return sorted(names)
end

local function unknown_of(call, arguments)
  arguments[NOBODYS] = 1
  local _, err = call(arguments)
  return listed(err)
end

local OPTIONS = unknown_of(crux.new, {})
local function without(list, others)
  local known, left = {}, {}
  for _, name in ipairs(others) do known[name] = true end
  for _, name in ipairs(list) do
    if not known[name] then left[#left + 1] = name end
  end
  return left
end

-- A field of an endpoint may have the name of an option that only the Lua layer knows.
local CORE_OPTIONS = without(unknown_of(core.get_order, {}), { "order_uuid" })

-- Methods that are not the project's own: what a comment calls @local is.
local function public(methods, path)
  local source, found = read(path), {}
  for name, value in pairs(methods) do
    local own = source:find("@local\nfunction %w+[.:]" .. name .. "%(") or source:find("@local\n%w+%." .. name .. " = ")
    if type(value) == "function" and not name:find("^_") and not own then found[#found + 1] = name end
  end
  return sorted(found)
end

local function pending_methods()
  local client = assert(crux.new{ token = "t", base_url = "http://127.0.0.1:1" })
  local pending = assert(client:submit("get_order", { order_uuid = helper.ORDER }))
  client:close()
  return getmetatable(pending).__index
end

-- Code without its comments.
local function code(path)
  local text = read(path)
  if path:find("%.lua$") then return (text:gsub("%-%-[^\n]*", "")) end
  return (text:gsub("/%*.-%*/", ""))
end

-- What is made for one endpoint, and how often its file names it.
local NAMED = {
  ["lua/crux/client.lua"] = { cancel_order = 1 },
  ["lua/crux/login.lua"] = { login = 3 },
  ["lua/crux/wait.lua"] = { get_order = 2 },
  ["lua/crux/orders.lua"] = { list_orders = 2 },
  ["lua/crux/fleet.lua"] = { cancel_order = 2 },
  ["lua/crux/fleet/look.lua"] = { get_order = 2 },
  ["lua/crux/fleet/worker.lua"] = { cancel_order = 1 },
}

describe("the pipeline #tree", function()
  -- The table, what is generated of it, and the sandbox, whose rows are a second opinion.
  it("names an endpoint in the table, the sandbox and the command alone", function()
    local found = {}
    for _, path in ipairs(lines("find csrc lua -name '*.[ch]' -o -name '*.lua' | sort")) do
      local exempt = path == "csrc/api.c" or path == "lua/crux/api.lua" or path:find("^lua/crux/sandbox")
        or path:find("^lua/crux/cli") -- a program above the library
      for _, name in ipairs(exempt and {} or ENDPOINTS) do
        -- the name of an endpoint that is a common word counts as a string alone
        local pattern = name:find("_") and "%f[%w_]" .. name .. "%f[^%w_]" or '"' .. name .. '"'
        local _, count = code(path):gsub(pattern, "")
        if count > (NAMED[path] and NAMED[path][name] or 0) then found[#found + 1] = path .. ": " .. name end
      end
    end
    assert.same({}, found)
  end)
end)

describe("documentation #tree", function()
  teardown(fault.stop)

  it("has every call and no other", function()
    -- below the calls are the objects in their arguments, which a field links to
    local headings = {}
    for _, name in ipairs(all(section("## Calls"), "\n### ([%w_]+)\n")) do
      local linked = PAGE:find("[" .. name .. "](#" .. name .. ")", 1, true)
      if is_endpoint(name) or not linked then headings[#headings + 1] = name end
    end
    assert.same(ENDPOINTS, headings)
    assert.same(ENDPOINTS, without(functions("crux"), { "new", "assert", "cancellation" }))
    assert.same(ENDPOINTS, without(functions("core", CORE_LIBRARY), { "curl_version" }))
    for _, name in ipairs(ENDPOINTS) do
      assert.is_function(core[name])
      assert.is_function(crux[name])
      assert.is_function(Client[name])
      assert.is_truthy(PAGE:find("`crux.core." .. name .. "`", 1, true))
    end
  end)

  for _, name in ipairs(ENDPOINTS) do
    it("has every field of " .. name .. " and no other", function()
      local known = unknown_of(core[name], {})
      local found = section("### " .. name)
      local fields = all(found:match("| field |.-\n\n"), "\n| `([^`]+)`")
      assert.same(without(known, CORE_OPTIONS), fields)
      assert.same(fields, class("crux." .. name .. ".arguments"))
    end)
  end

  it("has every field of a SKU and no other", function()
    local _, err = core.cancel_order{ order_uuid = helper.ORDER, skus = { { [NOBODYS] = 1 } } }
    assert.same(listed(err), cells("### sku"))
    assert.same(listed(err), class("crux.sku"))
  end)

  it("has every option and no other", function()
    assert.same(OPTIONS, cells("## Options"))
    assert.same(OPTIONS, class("crux.options"))
    local readme = {}
    for row in read("README.md"):match("<!%-%- generated: options %-%->(.-)<!%-%- end %-%->"):gmatch("[^\n]+") do
      for name in (row:match("^| ([^|]*) |") or ""):gmatch("`([^`]+)`") do readme[#readme + 1] = name end
    end
    assert.same(OPTIONS, sorted(readme))
  end)

  it("says which options crux.core does not know", function()
    local known = unknown_of(core.get_order, {})
    local text = section("## The module `crux.core`"):match("is not read, and (.-) are%s+unknown")
    assert.same(without(OPTIONS, known), all(text, "`([%w_]+)`"))
  end)

  it("has every option of a batch and no other", function()
    local client = crux.new{ token = "t" }
    local known = unknown_of(function(options) return client:cancel_orders({}, options) end, {})
    assert.same(known, cells("### Options of a batch"))
    assert.same(known, class("crux.batch_options"))
  end)

  it("has every function and field of crux and no other", function()
    local names, fields = {}, {}
    for name, value in pairs(crux) do
      if type(value) ~= "function" then fields[#fields + 1] = name
      elseif not is_endpoint(name) then names[#names + 1] = name end
    end
    local found = section("## The module `crux`")
    assert.same(sorted(names), all(found, "\n### crux%.([%w_]+)\n"))
    assert.same(sorted(fields), all(found, "\n| `crux%.([%w_]+)`"))
    assert.same(names, without(functions("crux"), ENDPOINTS))
    assert.same(fields, class("crux"))
  end)

  -- Its table is read from the source, since it loads inside nginx alone.
  it("has every function and field of crux.resty", function()
    local body = read("lua/crux/resty.lua"):match("\nlocal resty = (%b{})")
    local names = {}
    for name in pairs(crux) do
      if not is_endpoint(name) then names[#names + 1] = name end
    end
    assert.same(sorted(names), all(body, "\n  ([%w_]+) = "))
    assert.is_truthy(PAGE:find("## The module `crux.resty`", 1, true))
    assert.is_truthy(read("library/crux/resty.lua"):find("@class crux.resty: crux\n", 1, true))
  end)

  it("has every fault of crux.mock and no other", function()
    local mock = require "crux.mock"
    local _, err = mock.new{ answers = { get_order = { "nobody's" } } }
    local names = all(err.message:match("faults (.*), found"), "[%l_]+")
    assert.is_true(#names > 5, err.message)
    assert.same(names, all(section("## The module `crux.mock`"), '"([%l_]+)"'))
    local alias = read("library/crux/mock.lua"):match("@alias crux.mock_fault ([^\n]*)")
    assert.same(names, all(alias, '"([%l_]+)"'))
    for _, name in ipairs(names) do assert(mock.new{ answers = { get_order = { name } } }) end
  end)

  it("has every method of a client and no other", function()
    local names = without(public(Client, "lua/crux/client.lua"), ENDPOINTS)
    assert.same(without(names, { "new" }), all(section("## Methods of a client"), "\n### client:([%w_]+)\n"))
    assert.same(without(names, { "new" }), without(functions("Client"), ENDPOINTS))
  end)

  it("has every method of a pending call and no other", function()
    local names = public(pending_methods(), "lua/crux/pending.lua")
    names = without(names, { "new" })
    assert.same(names, all(section("## A pending call"), "\n### pending:([%w_]+)\n"))
    assert.same(names, functions("Pending"))
  end)

  it("has every kind of error and no other", function()
    local source = read("csrc/http/outcome.c"):match('"none", (.-)}')
    assert.same(all(source, '"(%w+)"'), cells("### Kinds"))
    local names = LIBRARY:match("\n%-%-%-@alias crux%.kind ([^\n]*)")
    assert.same(all(source, '"(%w+)"'), all(names, '"(%w+)"'))
  end)

  -- The defaults that the code has stand in it as numbers.
  it("has the defaults of the code", function()
    local source, found = {}, {}
    for i, path in ipairs(lines("ls csrc/binding/*.c")) do source[i] = read(path) end
    local body = table.concat(source):match("\nvoid crux_default_settings%b()%s*(%b{})")
    for name, value in body:gmatch("\n  s%->([%w_]+) = ([%d%s%*]+);") do
      found[name] = assert((loadstring or load)("return " .. value))()
    end
    found.retries = tonumber(read("lua/crux/lua_options.lua"):match("\nlocal RETRIES = (%d+)"))
    for _, name in ipairs{ "concurrency", "max_failures", "max_pause" } do
      found[name] = tonumber(read(batch_source):match("\nlocal " .. name:upper() .. " = (%d+)"))
    end
    local documented = {}
    for _, list in ipairs{ "client_options", "batch_options" } do
      for _, option in ipairs(require "crux.api"[list]) do
        if type(option.default) == "number" then documented[option[1]] = option.default end
      end
    end
    assert.same(found, documented)
    assert.is_truthy(found.timeout and found.retries and found.concurrency and found.max_body)
  end)

  it("has the servers of the code", function()
    local servers = require "crux.api".servers
    assert.same({ crux.SANDBOX, crux.PRODUCTION }, { servers.sandbox, servers.production })
  end)

  it("has the variables of the environment that are read, in their order", function()
    local names = {}
    for _, row in ipairs(require "crux.api".client_options) do
      local variables = row.environment or {}
      if variables[1] then names[#names + 1] = row[1] end
      for i, variable in ipairs(variables) do
        local set = { [variable] = "first" }
        for j = i + 1, #variables do set[variables[j]] = "later" end
        assert.equal("first", helper.child(("print(require 'crux.environment'.options().%s)"):format(row[1]), set))
        assert.is_truthy(section("## Options"):find("`" .. variable .. "`", 1, true), variable)
      end
    end
    local known = {}
    for name in pairs(require "crux.environment".names) do known[#known + 1] = name end
    assert.same(sorted(known), sorted(names))
  end)

  it("has examples that are valid, as printed", function()
    local client, count = crux.new{ token = "t" }, 0
    for name, arguments in PAGE:gmatch("local result, err = crux%.([%w_]+)(%b{})") do
      local chunk = assert((loadstring or load)("return " .. arguments))
      assert.is_truthy(client:dry_run(name, chunk()))
      count = count + 1
    end
    assert.equal(#ENDPOINTS, count)
  end)

  it("has definitions that are Lua", function()
    for _, path in ipairs(lines("find library -name '*.lua'")) do
      assert(loadfile(path))
      local name = path:gsub("^library/", ""):gsub("%.lua$", ""):gsub("/", ".")
      assert.equal(name, read(path):match("^%-%- [^\n]*\n%-%- [^\n]*\n%-%-%-@meta (%S+)\n"))
    end
    assert.is_table(require("cjson").decode(read("library/config.json")))
  end)

  it("links to headings that are there", function()
    local anchors = {}
    for title in PAGE:gmatch("\n#+ ([^\n]+)") do
      anchors[title:lower():gsub("[^%w_%- ]", ""):gsub(" ", "-")] = true
    end
    local count = 0
    for anchor in PAGE:gmatch("%]%(#([^)]*)%)") do
      assert.is_true(anchors[anchor], "expected a heading for #" .. anchor)
      count = count + 1
    end
    assert.is_true(count > 20)
  end)
end)

-- What calls return, made to have every field there is.
describe("documentation of what calls return #tree", function()
  local server, found

  local function note(name, value)
    found[name] = found[name] or {}
    for key in pairs(value) do found[name][key] = true end
  end

  local function note_answer(result, err)
    if result then note("crux.result", result) else note("crux.err", err) end
    local meta = (result or err).meta
    note("crux.meta", meta)
    note("crux.time", meta.time)
  end

  local function collect()
    local client = assert(crux.new{
      base_url = server.base_url, token = helper.TOKEN, on_event = function(event) note("crux.event", event) end,
    })
    local body = { order_uuid = helper.ORDER }
    local function call(answer)
      server:set{ answer = answer }
      note_answer(client:cancel_order(body))
    end
    call(helper.response(200, '{"a":1}', { "Content-Type: application/json" }))
    call(helper.response(200, "{"))
    call(helper.response(400, '{"detail":"no","order_uuid":["bad"]}', { "Content-Type: application/json" }))
    call(helper.response(429, "", { "Retry-After: 0" }))
    note_answer(client:cancel_order{ order_uuid = "1" })
    local function fails(event)
      note("crux.event", event)
      error("an error in a callback", 0)
    end
    note_answer(client:cancel_order{ order_uuid = helper.ORDER, on_event = fails })
    note_answer(client:cancel_order_item{ order_item_uuid = helper.ORDER, on_event = fails })
    note("crux.dry_run", client:dry_run("cancel_order", body))
    local report
    for _, status in ipairs{ 400, 401, 500 } do
      server:set{ answer = helper.response(status) }
      report = client:cancel_orders({ body, { order_uuid = "1" }, body }, { concurrency = 1 })
      note("crux.report", report)
      for _, list in ipairs{ "rejected", "unknown", "not_sent", "not_started" } do
        for _, item in ipairs(report[list]) do note("crux.report_item", item) end
      end
    end
    client:close()
  end

  setup(function()
    server, found = fault.serve{ script = helper.ANSWER }, {}
    collect()
  end)
  teardown(function()
    server:close()
    fault.stop()
  end)

  for name, heading in pairs{
    ["crux.result"] = "### A result", ["crux.err"] = "### An error", ["crux.meta"] = "### `meta`",
    ["crux.time"] = "### `meta.time`", ["crux.event"] = "### An event", ["crux.dry_run"] = "### A dry run",
    ["crux.report"] = "### A report", ["crux.report_item"] = "### An item of a report",
  } do
    it("has every field of a " .. name .. " and no other", function()
      local names = {}
      for key in pairs(found[name]) do names[#names + 1] = key end
      assert.same(sorted(names), cells(heading))
      assert.same(names, class(name))
    end)
  end
end)
