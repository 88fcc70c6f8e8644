-- crux changes no state of its host process, and does not depend on it. Each case is a child
-- process, since it changes process-wide state.
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local server

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(200,
    '{"a":{"b":[{"c":1.5}]},"n":12345678901}') } }
end)

teardown(function() server:close() end)

-- The start of each child's script: `sample` are arguments with every field.
local PRELUDE = [[
  local U, S = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29", "757ce28d-fbd6-4b9f-8051-f847482e169f"
  local SERVER, OTHER = %q, %q
  local function sample()
    return { order_uuid = U, token = "a-token", base_url = SERVER, timeout = 7.5, connect_timeout = 2.25, skus = {
      { supplier_uuid = S, sku_id = "000106", quantity = 1234567, price = 19.99, expected_sku_cost = "7.5" },
        { supplier_uuid = S, quantity = 2 },
    } }
  end
  local function answer_of(crux)
    local result, err = crux.cancel_order(sample())
    assert(result, tostring(err))
    local n = result.body.n
    local decimal, whole = result.body.a.b[1].c == 1.5, n == 12345678901
    return ("%%s %%s %%s"):format(tostring(decimal), tostring(whole), tostring(n == math.floor(n)))
  end
]]

local function child(source, environment, other)
  return helper.child(PRELUDE:format(server.base_url, other or "") .. source, environment)
end

-- The bodies that the server got since this was last asked.
local function bodies()
  local list = {}
  for _, sent in ipairs(helper.new_requests(server)) do list[#list + 1] = sent:match("\r\n\r\n(.*)$") end
  return list
end

local function fields(body)
  local cjson = require "cjson"
  return cjson.decode(body)
end

local EXPECTED = {
  order_uuid = helper.ORDER,
  skus = {
    { supplier_uuid = helper.SUPPLIER, sku_id = "000106", quantity = 1234567, price = "19.99",
      expected_sku_cost = "7.50" },
    { supplier_uuid = helper.SUPPLIER, quantity = 2 },
  },
}

describe("another user of lua-cjson", function()
  local SETTINGS = [[
    local cjson = require "cjson"
    local function set(name, ...) if cjson[name] then pcall(cjson[name], ...) end end
    local function meddle()
      set("encode_number_precision", 1)
      set("encode_max_depth", 1) set("decode_max_depth", 1)
      set("encode_sparse_array", true, 1, 1)
      set("encode_invalid_numbers", "null") set("decode_invalid_numbers", true)
      set("encode_keep_buffer", false)
      set("encode_empty_table_as_object", false) set("decode_array_with_array_mt", true)
      set("encode_escape_forward_slash", false)
    end
    local function replace()
      for name in pairs(cjson) do if type(cjson[name]) == "function" then cjson[name] = function() error("called "
        .. name) end end end
      package.loaded.cjson, package.preload.cjson = nil, function() error("loaded") end
    end
  ]]

  it("can change settings of cjson before and after calls", function()
    bodies()
    assert.equal("true true true\ntrue true true\ntrue", child(SETTINGS .. [[
      meddle()
      local crux = require "crux"
      local before = crux.new():dry_run("cancel_order", sample()).body
      print(answer_of(crux))
      meddle()
      replace()
      print(answer_of(crux))
      print(before == crux.new():dry_run("cancel_order", sample()).body)]]))
    local sent = bodies()
    assert.equal(2, #sent)
    assert.equal(sent[1], sent[2])
    assert.same(EXPECTED, fields(sent[1]))
    assert.is_truthy(sent[1]:find('"quantity":1234567[,}]'))
  end)

  it("keeps its settings of cjson", function()
    assert.equal("0.333\ntrue\ntrue", child([=[
      local cjson = require "cjson"
      cjson.encode_number_precision(3)
      cjson.decode_max_depth(3)
      local functions = {}
      for name, value in pairs(cjson) do functions[name] = value end
      local crux = require "crux"
      answer_of(crux)
      print(cjson.encode(1 / 3))
      print(not pcall(cjson.decode, "[[[[1]]]]"))
      local same = true
      for name, value in pairs(cjson) do same = same and functions[name] == value end
      print(same)]=]))
  end)
end)

describe("a locale with a decimal comma", function()
  -- Made here, with what it needs only: few machines have one installed.
  local function make()
    local dir = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-locale.XXXXXX"')):read("*l")
    local map = { "<code_set_name> ANSI_X3.4-1968", "<mb_cur_min> 1", "<mb_cur_max> 1", "CHARMAP" }
    for code = 0, 127 do map[#map + 1] = ("<U%04X> /x%02x -"):format(code, code) end
    map[#map + 1] = "END CHARMAP\n"
    for name, text in pairs{
      map = table.concat(map, "\n"),
        source = 'LC_NUMERIC\ndecimal_point ","\nthousands_sep "."\ngrouping 3;3\nEND LC_NUMERIC\n',
    } do
      local file = assert(io.open(dir .. "/" .. name, "w"))
      file:write(text)
      file:close()
    end
    local pipe = assert(io.popen(("cd '%s' && localedef -c -f ./map -i ./source ./comma 2>&1"):format(dir)))
    pipe:read("*a")
    pipe:close()
    return dir
  end

  it("changes nothing in requests and results", function()
    local dir = make()
    -- a leak of glibc's own, of LOCPATH
    local environment = { LOCPATH = dir, ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0" }
    local able = child([[print(os.setlocale("comma", "numeric"))]], environment)
    if able ~= "comma" then
      os.execute("rm -rf '" .. dir .. "'")
      pending("no locale with a decimal comma, nor the means to make one")
      return
    end
    bodies()
    local printed = child([[
      local crux = require "crux"
      print(answer_of(crux))
      local before = crux.new():dry_run("cancel_order", sample()).body
      assert(os.setlocale("comma", "numeric"))
      print(answer_of(crux))
      print(before == crux.new():dry_run("cancel_order", sample()).body)
      print(os.setlocale(nil, "numeric"))
      local arguments = sample()
      arguments.skus[1].price = 1.005
      print(select(2, crux.cancel_order(arguments)).field)
      arguments.skus[1].price = "1,5"
      print(select(2, crux.cancel_order(arguments)).kind)
      assert(os.setlocale("C", "numeric"))
      print(answer_of(crux))]], environment)
    local again = child([[
      assert(os.setlocale("comma", "numeric"))
      local crux = require "crux"
      print(answer_of(crux))
      assert(os.setlocale("C", "numeric"))
      print(answer_of(crux))]], environment)
    os.execute("rm -rf '" .. dir .. "'")
    assert.equal(([[
true true true
true true true
true
comma
skus[1].price
invalid
true true true]]), printed)
    assert.equal("true true true\ntrue true true", again)
    local sent = bodies()
    assert.equal(5, #sent)
    for i = 1, 3 do assert.equal(sent[1], sent[i]) end
    for _, body in ipairs(sent) do assert.same(EXPECTED, fields(body)) end
  end)
end)

describe("the host's", function()
  it("math.random is not disturbed", function()
    local port = fault.refused_port()
    assert.equal("true", child([[
      math.randomseed(42)
      local expected = { math.random(), math.random(), math.random(1e6), math.random(1e6) }
      math.randomseed(42)
      local crux = require "crux"
      local found = { math.random() }
      answer_of(crux)
      found[2] = math.random()
      -- with a pause, which is random
      local arguments = sample()
      arguments.base_url, arguments.retries = OTHER, 1
      crux.cancel_order(arguments)
      found[3] = math.random(1e6)
      crux.new():dry_run("cancel_order", sample())
      found[4] = math.random(1e6)
      local same = true
      for i = 1, 4 do same = same and expected[i] == found[i] end
      print(same)]], nil, "http://127.0.0.1:" .. port))
  end)

  it("globals, libraries, loaded modules, hook and metatables are not changed", function()
    assert.equal("", child([[
      local watched = { _G = _G, string = string, table = table, math = math, os = os, io = io, debug = debug,
        coroutine = coroutine,
        ["string's metatable"] = getmetatable(""), ["_G's metatable"] = getmetatable(_G) or {}, package = package,
          searchers = package.searchers or package.loaders }
      local function snapshot()
        local all = {}
        for name, library in pairs(watched) do
          all[name] = {}
          for key, value in pairs(library) do all[name][key] = value end
        end
        return all
      end
      local loaded = {}
      for name in pairs(package.loaded) do loaded[name] = true end
      local function hook() end
      debug.sethook(hook, "", 1000000)
      local before = snapshot()
      local crux = require "crux"
      answer_of(crux)
      local client = crux.new(sample() and { token = "x", base_url = SERVER })
      client:cancel_order{ order_uuid = U }
      client:submit("cancel_order", { order_uuid = U }):wait()
      client:dry_run("cancel_order", sample())
      client:cancel_order{ order_uuid = 1 }
      client:close()
      collectgarbage()
      assert(debug.gethook() == hook)
      for name, library in pairs(snapshot()) do
        for key, value in pairs(library) do if before[name][key] ~= value then print(name, key, value) end end
        for key in pairs(before[name]) do if library[key] == nil then print(name, key, "gone") end end
      end
      for name in pairs(package.loaded) do
        if not loaded[name] and name ~= "cjson" and name ~= "crux" and not name:find("^crux%.") then
          print("loaded", name)
        end
      end]]))
  end)

  it("signal handlers and mask, environment, locale and directory are not changed", function()
    if not io.open("/proc/self/status") then return pending("no /proc") end
    local cut = fault.serve{ tls = "good", script = "conn:read(10) conn:rst()" }
    assert.equal("true", child([[
      local function run(command)
        local pipe = io.popen(command)
        local text = pipe:read("*a")
        pipe:close()
        return text
      end
      local function state()
        local words = {}
        for line in io.lines("/proc/self/status") do
          if line:find("^Sig[BIC]") then words[#words + 1] = line end
        end
        words[#words + 1] = os.setlocale()
        words[#words + 1] = run("env | sort | grep -v ^_=; pwd; umask")
        return table.concat(words, "\n")
      end
      local before = state()
      local crux = require "crux"
      answer_of(crux)
      -- a connection that breaks while there is much to send: SIGPIPE would end the process
      local arguments = sample()
      arguments.base_url, arguments.ca_file = OTHER, os.getenv "CA_FILE"
      arguments.skus[1].sku_id = ("x"):rep(8 * 1024 * 1024)
      for _ = 1, 5 do
        local _, err = crux.cancel_order(arguments)
        assert(err.outcome == "unknown", tostring(err))
      end
      local after = state()
      print(before == after or before .. "\n---\n" .. after)]], { CA_FILE = fault.ca_file }, cut.base_url))
    cut:close()
  end)

  it("output gets nothing from crux", function()
    local refused = "http://127.0.0.1:" .. fault.refused_port()
    assert.equal("", child([[
      local crux = require "crux"
      answer_of(crux)
      local arguments = sample()
      arguments.base_url, arguments.retries = OTHER, 0
      crux.cancel_order(arguments)
      arguments.ca_file, arguments.base_url = "/does/not/exist", "https://127.0.0.1:1"
      crux.cancel_order(arguments)
      crux.cancel_order{}
      crux.new{ token = function() error("x") end, base_url = SERVER }:cancel_order{ order_uuid = U }
      pcall(crux.cancel_order)
      local client = crux.new{ token = "x", base_url = SERVER }
      client:submit("cancel_order", { order_uuid = U })]], nil, refused))
  end)

  it("process ends normally with a call just submitted", function()
    for _ = 1, 25 do
      assert.equal("", child([[
        local crux = require "crux"
        local client = crux.new{ token = "x", base_url = OTHER }
        client:submit("cancel_order", { order_uuid = U })]], nil, server.base_url))
    end
  end)

  it("tables and metatables are not changed by a call", function()
    assert.equal("true", child([[
      local crux = require "crux"
      local mt = { __metatable = "locked" }
      local arguments = setmetatable(sample(), mt)
      local keys = 0
      for _ in pairs(arguments) do keys = keys + 1 end
      crux.cancel_order(arguments)
      for _ in pairs(arguments) do keys = keys - 1 end
      print(keys == 0 and arguments.skus[1].price == 19.99 and getmetatable(arguments) == "locked")]]))
  end)

  it("coroutines and finalizers can make calls", function()
    assert.equal("true true true\ntrue true true", child([[
      local crux = require "crux"
      print(coroutine.wrap(function() return answer_of(crux) end)())
      local said
      if _VERSION == "Lua 5.1" then
        local proxy = newproxy(true)
        getmetatable(proxy).__gc = function() said = answer_of(crux) end
      else
        setmetatable({}, { __gc = function() said = answer_of(crux) end })
      end
      collectgarbage()
      collectgarbage()
      print(said)]]))
  end)
end)

describe("a host that takes globals away", function()
  -- Everything a program can do, with and without a mistake.
  local USE = [[
    local write, tostring, pcall, select, assert, pairs, G = io.write, tostring, pcall, select, assert, pairs, _G
    local function print(...)
      for i = 1, select("#", ...) do write(i > 1 and "\t" or "", tostring((select(i, ...)))) end
      write("\n")
    end
    local function use(crux)
      local client = assert(crux.new{ token = "t", base_url = SERVER, retries = 1 })
      local given = { order_uuid = U, token = "t", base_url = SERVER }
      print((crux.cancel_order(given) or {}).outcome, (client:cancel_order{ order_uuid = U } or {}).outcome)
      local pending = client:submit("cancel_order", { order_uuid = U })
      print(select(2, pending:wait()).outcome, tostring(pending), client:step() ~= nil, client:in_flight(), client:timeout())
      print(client:dry_run("get_order", { order_uuid = U }).method, select(2, client:cancel_order{ order_uid = U }).field)
      print(client:cancel_orders({ { order_uuid = U }, { order_uuid = U } }, { concurrency = 1 }).counts.accepted)
      local paused = crux.new{ token = function() return "t" end, base_url = SERVER, on_event = function() end, retries = 1 }
      print(paused:cancel_order{ order_uuid = U, base_url = OTHER }.outcome, select(2, client:cancel_orders({}, { x = 1 })).field)
      print(pcall(client.cancel_order), pcall(client.cancel_orders, client, { 1 }), pcall(client.submit, client, "no"))
      client:close()
    end]]

  local function run(source)
    local busy = fault.serve{ script = "conn:request() conn:write(shared.answer) conn:request() conn:write(shared.second)",
      shared = { answer = helper.response(429, "", { "Retry-After: 0" }), second = helper.response(204) } }
    local printed = child(USE .. source, nil, busy.base_url)
    busy:close()
    return printed
  end

  it("can make calls, whenever it takes them away", function()
    local expected = run[[ use(require "crux") ]]
    assert.is_truthy(expected:find("^accepted\taccepted\naccepted\tcrux.pending %(done%)\ttrue\t0\tnil\n"), expected)
    assert.equal(expected, run[[
      local crux = require "crux"
      for name in pairs(G) do G[name] = nil end
      use(crux)]])
  end)

  -- What `use` itself needs of a library it must have by then.
  it("is served as any other when libraries, globals and string's metatable are broken", function()
    local wreck = [=[
      local next, type, getmetatable, rawset, error = next, type, getmetatable, rawset, error
      local function broken() error("a broken global was used") end
      local setter = debug.setmetatable
      for name, value in next, G do
        if type(value) == "table" and value ~= G and name ~= "package" and name ~= "arg" then
          for key, item in next, value do
            if type(item) == "function" then rawset(value, key, broken) end
          end
        end
      end
      local strings = getmetatable("")
      setter("", { __index = broken })
      for key in next, strings do strings[key] = nil end
      for name, value in next, G do if type(value) == "function" then G[name] = broken end end]=]
    local expected = run[[ use(require "crux") ]]
    assert.equal(expected, run([[ local crux = require "crux" ]] .. wreck .. [[ use(crux)]]))
    local resty = [[
      package.loaded.ffi, package.loaded["ngx.semaphore"] = {}, {}
      ngx = { get_phase = function() return "log" end, sleep = false, timer = {}, socket = {} }
      package.loaded.ngx = ngx
      local crux = require "crux.resty"
      local function phase() print(select(2, pcall(crux.get_order, { order_uuid = U }))) end ]]
    local told = run(resty .. "phase()")
    assert.is_truthy(told:find("found 'log': hand the call to", 1, true), told)
    assert.equal(told, run(resty .. wreck .. " phase()"))
  end)

  it("has an empty environment without os or os.getenv", function()
    for _, gone in ipairs{ "os = nil", "os.getenv = nil", "os = 5" } do
      for _, source in ipairs{
        gone .. [[ local crux = require "crux" ]], [[ local crux = require "crux" crux.new() ]] .. gone,
        [[ local crux = require "crux" setmetatable(_G, { __index = function(_, name) error(name) end }) ]] .. gone,
      } do
        local printed = child(source .. [[
          local result = crux.cancel_order{ order_uuid = U, token = "t", base_url = SERVER }
          print(result.outcome, tostring(crux.new{}), select(2, crux.cancel_order{ order_uuid = U }).kind)]],
          { CRUX_TOKEN = "unread", CRUX_BASE_URL = "https://127.0.0.1:1" })
        assert.equal("accepted\tcrux.client (https://api-sandbox.cruxconnect.com)\tauth", printed, source)
      end
    end
  end)
end)
