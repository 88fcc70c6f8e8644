-- A further endpoint is one row of lua/crux/api.lua and what `make generate` writes: a copy of the tree gets some, and
-- they are called everywhere. The sandbox needs a row of its own for each, and here has it (#tree, #slow: it builds
-- crux).
local fault = require "spec.support.fault"
local files = require "spec.support.files"
local helper = require "spec.helper"

local lines, read, write, quoted = files.lines, files.read, files.write, files.quoted

-- One with every type of field, two without a body, and one that takes no token.
local ROWS = [[
  endpoints = {
    {
      name = "settle_order",
      route = "PATCH /orders/{order_uuid}/settle/",
      generations = { "timp" },
      doc = "Settles an order.",
      fields = {
        { "reason", "choice", required = true, choices = { "late", "lost" }, doc = "why" },
        { "order_uuid", "uuid", required = true, doc = "the order" },
        { "due", "date", doc = "when" },
        { "final", "boolean", doc = "whether it is the last word" },
        { "notes", "list of text", high = 3, doc = "remarks" },
        { "marks", "list of choice", choices = { "red", "blue" }, doc = "colours" },
        { "sort", "sorting", doc = "in which order" },
        { "password", "text", secret = true, doc = "a password" },
      },
      party = "supplier",
      permission = "cancel_order",
      look = "get_order",
      hints = { [404] = "nothing to settle" },
      example = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", reason = "lost", sort = { dir = "asc" } },
    },
    {
      name = "approve_order",
      route = "PATCH /orders/{order_uuid}/approve/",
      generations = { "timp" },
      doc = "Approves an order.",
      fields = { { "order_uuid", "uuid", required = true, doc = "the order" } },
      example = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" },
    },
    {
      name = "drop_item",
      route = "DELETE /orders/items/{order_item_uuid}/",
      doc = "Drops an item.",
      fields = { { "order_item_uuid", "uuid", required = true, doc = "the item" } },
      example = { order_item_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" },
    },
    {
      name = "sign_in",
      route = "POST /users/sign-in/",
      doc = "Signs in.",
      fields = {
        { "user", "text", required = true, doc = "a name" },
        { "password", "text", required = true, secret = true, doc = "the password" },
      },
      authenticated = false,
      safe = true,
      example = { user = "ada", password = "pass-of-ada" },
    },
]]

local OBJECT = [[
  objects = {
    sorting = {
      doc = "How to sort.",
      fields = {
        { "dir", "choice", required = true, choices = { "asc", "desc" }, doc = "upwards or downwards" },
        { "keys", "list of sorting_key", doc = "by what" },
      },
    },
    sorting_key = { doc = "By what to sort.", fields = { { "key", "text", doc = "a name" } } },
]]

local CHECKS = [[
local HANDLERS = {
  settle_order = { call = function() return 204 end, fields = { { "reason", check.string, true } } },
  approve_order = { call = function() return 204 end },
  drop_item = { call = function() return 204 end },
  sign_in = { call = function() return 204 end, fields = { { "user", check.string, true } } },
]]

local BODY = '{"reason":"late","due":"2018-08-03 06:00:00","final":true,"notes":["a","b"],"marks":["red"],'
  .. '"sort":{"dir":"desc","keys":[{"key":"k"}]},"password":"pass-of-settle"}'

-- 204, or the status that the path begins with.
local ANSWER = [=[
  while true do
    local request = conn:request()
    if not request then break end
    conn:write(("HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n"):format(request.path:match("^/(%d+)/") or "204"))
  end
  conn:fin()
]=]

-- Run in the copied tree. SERVER: the fault server; SANDBOX: the tree's own, with tokens of two users.
local SCRIPT = [==[
local crux, core = require "crux", require "crux.core"
local function arguments(more)
  local made = {
    api = "timp", reason = "late", order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", due = "2018-08-03 06:00:00",
    final = true, notes = { "a", "b" }, marks = { "red" }, sort = { dir = "desc", keys = { { key = "k" } } },
    password = "pass-of-settle",
  }
  for name, value in next, more or {} do made[name] = value end
  return made
end
local function show(name, result, err) print(name, result and result.outcome or tostring(err)) end

local with = { base_url = os.getenv "SERVER", token = "t" }
show("crux", crux.settle_order(arguments(with)))
show("core", core.settle_order(arguments(with)))
local client = assert(crux.new(with))
show("client", client:settle_order(arguments()))
show("call", client:call("settle_order", arguments()))
local pending = assert(client:submit("settle_order", arguments()))
show("submit", select(2, pending:wait()))
local shown = assert(client:dry_run("settle_order", arguments()))
print("dry_run", shown.method, shown.url:match("//[^/]*(/.*)"))

for _, row in ipairs{ { "approve_order", "order_uuid", "timp" }, { "drop_item", "order_item_uuid", "v1" } } do
  local _, err = client[row[1]](client, { [row[2]] = "1" })
  assert(err.field == row[2], err)
  show(row[1], client[row[1]](client, { [row[2]] = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", api = row[3] }))
end

show("sign_in", core.sign_in{ base_url = with.base_url, user = "ada", password = "pass-of-ada" })
show("sign_in", crux.sign_in{ base_url = os.getenv "SANDBOX", user = "ada", password = "pass-of-ada" })

for _, changed in ipairs{
  { reson = "late" }, { reason = "never" }, { reason = 5 }, { order_uuid = "1" }, { due = "yesterday" }, { final = 1 },
  { notes = {} }, { notes = { "a", 5 } }, { notes = { "1", "2", "3", "4" } }, { marks = { "green" } }, { sort = 5 },
  { sort = {} }, { sort = { dir = "up" } }, { sort = { dir = "asc", keys = { { kee = "k" } } } }, { password = 55555 },
  { api = "v1" },
} do
  local _, err = client:settle_order(arguments(changed))
  print("refused", err and err.kind, err and err.field, err and err.message)
end

for _, name in ipairs{ "retailer", "supplier" } do
  local result, err = crux.settle_order(arguments{ base_url = os.getenv "SANDBOX", token = os.getenv(name) })
  print(name, result and result.status or err.status, err and err.hint)
end
-- of the sandbox's own: routes by generation, and a handler for each row
local service = require "crux.sandbox.service"
local state = { accounts = { identify = function() return nil, "nobody" end } }
for _, prefix in ipairs{ "", "/timp" } do
  for _, path in ipairs{ "/orders/54a31ec5-b0be-4a92-af4c-1b75fe8e6e29/approve/", "/orders/cancel/", "/orders/x/approve/" } do
    print("route", prefix .. path:match("/%w+/$"), (service.answer(state, { method = "PATCH", path = prefix .. path, headers = {} })))
  end
end
local api = require "crux.api"
api.endpoints[#api.endpoints + 1] = { name = "unhandled", route = "GET /unhandled/", fields = {} }
package.loaded["crux.sandbox.service"] = nil
print("unhandled", select(2, pcall(require, "crux.sandbox.service")))

print("status 404", select(2, client:settle_order(arguments{ base_url = os.getenv "SERVER" .. "/404" })).hint)
print("status 500", select(2, client:settle_order(arguments{ base_url = os.getenv "SERVER" .. "/500" })).hint)
]==]

local busted = os.getenv "BUSTED" or "/usr/bin/busted"

describe("a further endpoint #tree #slow", function()
  local tree, server, sandbox, output

  local function change(path, from, to)
    local text = read(tree .. "/" .. path)
    local first, last = text:find(from, 1, true)
    assert(first, path .. ": expected " .. from)
    write(tree .. "/" .. path, text:sub(1, first - 1) .. to .. text:sub(last + 1))
  end

  -- The lines of the script's output that a pattern matches.
  local function said(pattern)
    local found = {}
    for _, line in ipairs(output) do
      if line:find(pattern) then found[#found + 1] = line end
    end
    return found
  end

  local function make(target)
    local out = lines(("cd %s && env -u MAKEFLAGS -u MAKELEVEL make -s %s LUA=lua5.4 CFLAGS=-O0 WERROR=1"):format(
      quoted(tree), target))
    return table.concat(out, "\n")
  end

  setup(function()
    tree = lines('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"')[1]
    assert.same({}, lines("cp -r Makefile README.md csrc docs examples library lua spec rockspec " .. quoted(tree)))
    change("lua/crux/api.lua", "  endpoints = {\n", ROWS)
    change("lua/crux/api.lua", "  objects = {\n", OBJECT)
    change("lua/crux/sandbox/service.lua", "local HANDLERS = {\n", CHECKS)
    local written = make("generate")
    assert.is_nil(written:find("rror"), written)
    local built = make("all")
    assert.is_nil(built:find("rror:"), built)
    sandbox = assert(loadfile(tree .. "/spec/support/process.lua"))().sandbox{ plain = true }
    server = fault.serve{ script = ANSWER }
    write(tree .. "/script.lua", SCRIPT)
    output = lines(("cd %s && env -u LUA_INIT -u LUA_PATH -u LUA_CPATH SERVER=%s SANDBOX=%s retailer=%s supplier=%s "
      .. "LUA_PATH_5_4='lua/?.lua;;' LUA_CPATH_5_4='build/lua5.4/?.so;;' lua5.4 script.lua"):format(quoted(tree),
      server.base_url, sandbox.base_url, sandbox.tokens.retailer, sandbox.tokens.supplier))
  end)
  teardown(function()
    if sandbox then sandbox:close() end
    if server then server:close() end
    fault.stop()
    os.execute("rm -r " .. quoted(tree))
  end)

  it("is called as every other", function()
    assert.same({
      "crux\taccepted", "core\taccepted", "client\taccepted", "call\taccepted", "submit\taccepted",
      "dry_run\tPATCH\t/timp/orders/" .. helper.ORDER .. "/settle/",
      "approve_order\taccepted", "drop_item\taccepted", "sign_in\taccepted", "sign_in\taccepted",
    }, said("^[%l_]+\t[aP]"), table.concat(output, "\n"))
  end)

  it("sends its fields in order, and the one in its path there alone", function()
    local settled, others, count = 0, {}, 0
    for _, request in ipairs(helper.new_requests(server)) do
      local line, body = request:match("^(.-) HTTP/1.1\r\n.*\r\n\r\n(.*)$")
      count = count + 1
      if line == "PATCH /timp/orders/" .. helper.ORDER .. "/settle/" then
        assert.equal(BODY, body)
        settled = settled + 1
      elseif line == "POST /users/sign-in/" then
        assert.equal('{"user":"ada","password":"pass-of-ada"}', body)
        assert.is_nil(request:find("Authorization", 1, true))
      elseif not line:find("^PATCH /%d") then
        assert.equal("", body)
        others[line] = request:match("\r\n(Content%-Length: %d+)\r\n") or "none"
      end
    end
    assert.equal(5, settled)
    assert.same({
      ["PATCH /timp/orders/" .. helper.ORDER .. "/approve/"] = "Content-Length: 0",
      ["DELETE /orders/items/" .. helper.ORDER .. "/"] = "none",
    }, others)
    assert.equal(10, count) -- what was refused sent nothing
  end)

  it("refuses what is none of its fields, or none of their values, by the field's path", function()
    local fields = {}
    for i, line in ipairs(said("^refused\t")) do
      local kind, field, message = line:match("^refused\t(%S+)\t(%S+)\t(.*)$")
      assert.equal("invalid", kind, line)
      assert.equal(field .. ": ", message:sub(1, #field + 2))
      assert.is_nil(line:find("55555", 1, true))
      fields[i] = field
    end
    assert.same({
      "reson", "reason", "reason", "order_uuid", "due", "final", "notes", "notes[2]", "notes", "marks[1]", "sort",
      "sort.dir", "sort.dir", "sort.keys[1].kee", "password", "api",
    }, fields)
    local all = table.concat(output, "\n")
    for _, text in ipairs{
      "reson: unknown field, did you mean 'reason'?", "sort.keys[1].kee: unknown field, did you mean 'key'?",
      "'late'", "'asc'",
    } do
      assert.is_truthy(all:find(text, 1, true), all)
    end
  end)

  it("is for its party alone in the sandbox, and the hint says so", function()
    local all = table.concat(output, "\n")
    assert.same({
      "retailer\t409\tthe token belongs to an organization of the wrong kind: settle_order is for suppliers",
    }, said("^retailer"), all)
    assert.same({ "supplier\t204\tnil" }, said("^supplier"), all)
  end)

  it("has a route of the sandbox in its own generations, and needs a handler there", function()
    assert.same({
      "route\t/approve/\t404", "route\t/cancel/\t401", "route\t/approve/\t404",
      "route\t/timp/approve/\t401", "route\t/timp/cancel/\t401", "route\t/timp/approve/\t404",
    }, said("^route"))
    assert.is_truthy(said("^unhandled")[1]:find("expected a handler of unhandled", 1, true))
  end)

  it("has its own hints, and says where to look", function()
    assert.same({
      "status 404\tnothing to settle",
      "status 500\tit may have been carried out: look with get_order before sending it again",
    }, said("^status"))
  end)

  it("is told of by the README, the reference page and the definitions", function()
    local readme = read(tree .. "/README.md"):match("\n(| `settle_order` [^\n]*)\n")
    assert.equal("| `settle_order` | `PATCH /orders/{order_uuid}/settle/` (timp) | `reason`, `order_uuid`; optional "
      .. "`due`; `final`; `notes`; `marks`; `sort`, `dir` and optional `keys`; `password` |", readme)
    local page = read(tree .. "/docs/reference.md")
    assert.is_truthy(page:find("`POST /users/sign-in/` (v1), `POST /timp/users/sign-in/` (timp); without a token; ", 1, true))
    local section = page:match("\n(### settle_order\n.-)\n### ")
    for _, text in ipairs{
      "`PATCH /timp/orders/{order_uuid}/settle/` (timp); for suppliers with the permission `cancel_order`",
      "| `reason` | one of `\"late\"`, `\"lost\"` | why (required) |",
      "| `order_uuid` | [uuid](#uuid) | the order (required, sent in the path) |",
      "| `due` | [date](#date) | when |", "| `notes` | list of 1 to 3: [text](#text) | remarks |",
      "| `sort` | [sorting](#sorting) | in which order |", "| `password` | [text](#text) | a password (a secret) |",
      "  sort = { dir = \"asc\" },\n",
    } do
      assert.is_truthy(section:find(text, 1, true), section)
    end
    local library = read(tree .. "/library/crux.lua")
    for _, text in ipairs{
      "\n---@class crux.settle_order.arguments: crux.options\n", "\n---@field reason \"late\"|\"lost\" why\n",
      "\n---@field marks? (\"red\"|\"blue\")[] colours\n", "\n---@field sort? crux.sorting in which order\n",
      "\n---@field keys? crux.sorting_key[] by what\n", "\nfunction crux.settle_order(arguments) end\n",
      "\nfunction Client:settle_order(arguments) end\n",
      '---@overload fun(self: crux.client, name: "settle_order", arguments: crux.settle_order.arguments)',
    } do
      assert.is_truthy(library:find(text, 1, true), text)
    end
    assert.is_truthy(read(tree .. "/library/crux/core.lua"):find("\nfunction core.settle_order(", 1, true))
  end)

  it("keeps the tree's rules on what is generated and documented", function()
    for _, spec in ipairs{
      "--filter='what is checked in' spec/tree/generated_spec.lua", "spec/tree/documented_spec.lua",
    } do
      local out = lines(("cd %s && env -u LUA_INIT LUA_PATH='lua/?.lua;;' LUA_CPATH='build/lua5.4/?.so;;' lua5.4 %s %s")
        :format(quoted(tree), busted, spec))
      local text = table.concat(out, "\n")
      assert.is_truthy(text:find(" 0 failures / 0 errors / ", 1, true), text)
    end
  end)
end)
