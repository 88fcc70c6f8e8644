-- The schema of arguments and options: every type, flag and nesting that a row of the table may
-- have, whether or not an endpoint uses it. spec/support/api.c is the table.
local cjson = require "cjson"
local api = require "spec.support.api"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local core = api.core
local U, S = helper.ORDER, helper.SUPPLIER
local null = core.null

-- What messages say.
local UUID = "expected a UUID (8-4-4-4-12 hex digits), found "
local KEY = "expected 'date', 'status' or 'sku_id', found "
local DATE = "expected a date such as '2018-08-03' or '2018-08-03 06:00:00', found "
local TERM = "expected a non-empty string of UTF-8 of at most 5 bytes, found "
local TEXT = "expected a non-empty string of UTF-8, found "
local SHORT_LIST = "expected a list of at most 2 numbers, found "
local TOO_LONG = "expected a request of at most 16777216 bytes, found more"
local OPTIONS = "token, base_url, api, timeout, idle_timeout"
local NO_FIELD = "unknown field, expected one of flag, day, term, start, sort, word, uuids, keys, "
  .. "texts, grid, sorts, tree, " .. OPTIONS
local NO_SORT = "unknown field, expected one of key, dir"

local client = assert(core.client{ token = helper.TOKEN, base_url = "https://h" })

local function dry_run(name, arguments)
  local request, err = client:prepare(name, arguments)
  assert.is_truthy(request, tostring(err))
  local dry = request:dry_run()
  core.release(request)
  return dry
end

local function body_of(arguments, name) return dry_run(name or "every", arguments).body end

local function refused(arguments, field, text, name)
  local request, err = helper.check(client:prepare(name or "every", arguments))
  assert.is_nil(request)
  assert.same({ "invalid", field, field .. ": " .. text }, { err.kind, err.field, err.message })
end

local function nested(depth)
  local tree = { name = "leaf" }
  for _ = 1, depth do tree = { children = { tree } } end
  return { tree = tree }
end

describe("JSON", function()
  it("has the fields in the order of the table, and none that were left out", function()
    assert.equal('{"flag":false,"day":"2018-08-03","term":"a","start":0,'
      .. '"sort":{"key":"date","dir":"asc"},"word":"only",'
      .. '"uuids":["' .. U .. '","' .. S .. '"],"keys":["status","date"],"texts":["a","b"],'
      .. '"grid":[[1,2],[3]],"sorts":[{"key":"sku_id"},{"key":"date","dir":"desc"}],'
      .. '"tree":{"name":"a","children":[{"name":"b"},{"children":[]}]}}', body_of{
      tree = { children = { { name = "b" }, { children = {} } }, name = "a" },
      sorts = { { key = "sku_id" }, { dir = "desc", key = "date" } }, grid = { { 1, 2 }, { "3" } },
      texts = { "a", "b" }, keys = { "status", "date" }, uuids = { U, S }, word = "only",
      sort = { dir = "asc", key = "date" }, start = 0, term = "a", day = "2018-08-03", flag = false,
    })
    assert.equal("{}", body_of{})
    assert.equal("{}", body_of({}, "nothing"))
    assert.equal('{"sort":{"key":"date"},"keys":[]}', body_of{ sort = { key = "date" }, keys = {} })
  end)

  it("escapes what RFC 8259 asks for, and nothing else", function()
    for byte = 0, 127 do
      local char = string.char(byte)
      local body = body_of{ term = "<" .. char .. ">" }
      assert.equal("<" .. char .. ">", cjson.decode(body).term)
      local written = body:match('^{"term":"<(.*)>"}$')
      assert.equal(byte >= 32 and char ~= '"' and char ~= "\\" and char or written, written)
      assert.is_nil(written:find("[%z\1-\31]"))
    end
    assert.equal('{"term":"\\\\\\"\\n\\u0001"}', body_of{ term = '\\"\n\1' })
    assert.equal('{"term":"/\195\169"}', body_of{ term = "/\195\169" })
    assert.equal('{"term":"\\u001f\\u0000"}', body_of{ term = "\31\0" })
  end)

  it("is bounded by what is written, whatever is given", function()
    local MIB = 1024 * 1024
    local enter = { username = "u" }
    enter.password = ("x"):rep(16 * MIB - #'{"username":"u","password":""}')
    assert.equal(16 * MIB, #body_of(enter, "enter"))
    enter.username = "uu"
    refused(enter, "password", TOO_LONG, "enter")
    enter.username, enter.password = "u", enter.password:sub(2) .. '"'
    refused(enter, "password", TOO_LONG, "enter")
    refused({ username = ("\1"):rep(3 * MIB), password = "p" }, "username", TOO_LONG, "enter")
    enter = { username = ("\1"):rep(2 * MIB), password = ("\1"):rep(2 * MIB) }
    refused(enter, "password", TOO_LONG, "enter")
    local texts = {}
    for i = 1, 800 * 1024 do texts[i] = "\1\1\1" end
    local _, err = client:prepare("every", { texts = texts })
    assert.is_truthy(err.field:find("^texts%[%d+%]$"), err.field)
    assert.is_truthy(err.message:find(TOO_LONG, 1, true), err.message)
  end)
end)

describe("a value of type", function()
  it("boolean is true or false", function()
    assert.equal('{"flag":true}', body_of{ flag = true })
    for _, row in ipairs{ { 0, "0" }, { 1, "1" }, { "true", "'true'" }, { {}, "a table" } } do
      refused({ flag = row[1] }, "flag", "expected true or false, found " .. row[2])
    end
  end)

  it("date is a day of the calendar, with or without a time", function()
    for _, day in ipairs{
      "2018-08-03", "2018-08-03 06:00:00", "2018-08-03T06:00:00.000Z", "2018-08-03T23:59:59Z",
      "2016-02-29", "2000-02-29", "2018-12-31 00:00:00.123456789",
    } do
      assert.equal('{"day":"' .. day .. '"}', body_of{ day = day })
    end
    for _, day in ipairs{
      "", "2018-8-3", "2018-13-01", "2018-00-10", "2018-02-29", "1900-02-29", "2018-04-31",
      "2018-01-00", "03.08.2018", "2018-08-03x", "2018-08-03 6:00", "20-08-03", "2018/08/03",
      "2018-08-0a", "2018-08-03\n",
    } do
      local shown = day:find("\n") and "a string of 11 bytes" or "'" .. day .. "'"
      refused({ day = day }, "day", DATE .. shown)
    end
    for _, day in ipairs{
      "2018-08-03 24:00:00", "2018-08-03 06:60:00", "2018-08-03 06:00:60", "2018-08-03T06:00:00.Z",
      "2018-08-03T06:00:00+02", "2018-08-03 06:00:00\0", "2018-08-03T06:00:00.0123456789",
      "2018-08-03  06:00:00",
      "2018-08-03 06-00-00",
    } do
      refused({ day = day }, "day", DATE .. ("a string of %d bytes"):format(#day))
    end
    refused({ day = 20180803 }, "day", DATE .. "20180803")
  end)

  it("enumeration is one of its choices", function()
    for _, key in ipairs{ "date", "status", "sku_id" } do
      assert.equal('{"sort":{"key":"' .. key .. '"}}', body_of{ sort = { key = key } })
    end
    refused({ sort = { key = "Date" } }, "sort.key", KEY .. "'Date'")
    refused({ sort = { key = "date\0" } }, "sort.key",
      KEY .. "a string of 5 bytes")
    refused({ sort = { key = "date", dir = 1 } }, "sort.dir", "expected 'asc' or 'desc', found 1")
    refused({ word = "" }, "word", "expected 'only', found ''")
  end)

  it("text has at most as many bytes as its row says", function()
    assert.equal('{"term":"12345"}', body_of{ term = "12345" })
    refused({ term = "123456" }, "term", TERM .. "'123456'")
    refused({ term = "" }, "term", TERM .. "''")
  end)

  it("whole number without an upper limit is one that a double holds", function()
    assert.equal('{"start":0}', body_of{ start = 0 })
    assert.equal('{"start":9007199254740992}', body_of{ start = 2 ^ 53 })
    assert.equal('{"start":9007199254740991}', body_of{ start = "9007199254740991" })
    refused({ start = 2 ^ 54 }, "start", "expected a whole number from 0, found 18014398509481984")
    refused({ start = -1 }, "start", "expected a whole number from 0, found -1")
    refused({ start = math.huge }, "start", "expected a whole number from 0, found inf")
  end)

  it("seconds is in its range, and may be 0 only for a duration", function()
    for name, what in pairs{
      timeout = "a positive number of seconds, at most 60",
      idle_timeout = "a number of seconds from 0 to 60",
    } do
      assert.is_truthy(core.client{ [name] = 60 })
      local _, err = helper.check(core.client{ [name] = 60.5 })
      assert.equal(name .. ": expected " .. what .. ", found 60.5", err.message)
    end
    assert.is_truthy(core.client{ idle_timeout = 0 })
    assert.is_nil((core.client{ timeout = 0 }))
  end)
end)

describe("a list", function()
  it("of anything has items of its type", function()
    refused({ uuids = { U, "x" } }, "uuids[2]", UUID .. "a string of 1 bytes")
    refused({ keys = { "date", "x" } }, "keys[2]", KEY .. "'x'")
    refused({ texts = { "a", "long" } }, "texts[2]",
      "expected a non-empty string of UTF-8 of at most 3 bytes, found 'long'")
    refused({ grid = { { 1 }, { 1, 10 } } }, "grid[2][2]",
      "expected a whole number from 0 to 9, found 10")
    refused({ grid = { { 1 }, 5 } }, "grid[2]", SHORT_LIST .. "5")
    refused({ sorts = { { key = "date" }, {} } }, "sorts[2].key", KEY .. "nothing")
    refused({ sorts = { "date" } }, "sorts[1]", "expected a table, found 'date'")
  end)

  it("has as many items as its row says", function()
    refused({ uuids = {} }, "uuids", "expected a list of 1 to 3 UUIDs, found an empty one")
    refused({ uuids = { U, U, U, U } }, "uuids", "expected a list of 1 to 3 UUIDs, found 4")
    refused({ texts = { "a" } }, "texts", "expected a list of at least 2 strings, found 1")
    refused({ texts = "a" }, "texts", "expected a list of at least 2 strings, found 'a'")
    refused({ grid = { { 1 } } }, "grid", "expected a list of 2 lists, found 1")
    refused({ grid = { { 1 }, { 1, 2, 3 } } }, "grid[2]", SHORT_LIST .. "3")
    refused({ sorts = {} }, "sorts", "expected a list of at least one table, found an empty one")
    refused({ keys = 1 }, "keys", "expected a list of strings, found 1")
  end)

  it("has no holes and no other keys, at any depth", function()
    refused({ grid = { { 1 }, { [2] = 1 } } }, "grid[2][1]",
      "expected a list without holes, found nothing")
    refused({ grid = { { 1 }, { 1, n = 1 } } }, "grid[2]",
      "expected a list, found a table with other keys than 1, 2, 3")
  end)
end)

describe("a nested table", function()
  it("has its fields checked in the order of the table, after those before it", function()
    refused({ sort = { dir = 1 }, word = "x" }, "sort.key", KEY .. "nothing")
    refused({ sort = { key = 1, dir = 1 }, flag = 1 }, "flag", "expected true or false, found 1")
    refused({ sort = "date" }, "sort", "expected a table, found 'date'")
    refused({ tree = { children = { { name = "a" }, { children = { { name = 1 } } } } } },
      "tree.children[2].children[1].name", TEXT .. "1")
  end)

  it("knows its own fields alone, and an unknown one comes first, at any depth", function()
    refused({ sort = { ky = "date" }, flag = 1 }, "sort.ky", "unknown field, did you mean 'key'?")
    refused({ sort = { key = "date", term = "a" } }, "sort.term", NO_SORT)
    local tree = { children = { { name = 1 }, { children = { {}, { nam = 1 } } } } }
    refused({ flag = 1, tree = tree }, "tree.children[2].children[2].nam",
      "unknown field, did you mean 'name'?")
    refused({ sorts = { 5, { key = 5 }, { [1] = 5 } } }, "sorts[3][1]", NO_SORT)
    refused({ sorts = { {}, { b = 1 }, { a = 1 }, { a = 1 } } }, "sorts[2].b", NO_SORT)
    refused({ grid = 5, tree = { zzz = 1 }, aaaa = 1 }, "aaaa",
      NO_FIELD)
  end)

  it("is read raw, and may be read twice", function()
    local shared = setmetatable({ key = "date" }, { __index = function() error("asked") end,
      __len = function() error("asked") end, __pairs = function() error("asked") end })
    assert.equal('{"sort":{"key":"date"},"sorts":[{"key":"date"},{"key":"date"}]}',
      body_of{ sort = shared, sorts = { shared, shared } })
  end)

  it("is nested at most 16 levels deep", function()
    assert.is_truthy(body_of(nested(7)):find('"leaf"', 1, true))
    local path = "tree" .. (".children[1]"):rep(8)
    refused(nested(8), path, "expected at most 16 levels of tables, found more")
    refused(nested(5000), path, "expected at most 16 levels of tables, found more")
    local loop = {}
    loop.children = { loop }
    refused({ tree = loop }, path, "expected at most 16 levels of tables, found more")
  end)
end)

describe("crux.null", function()
  it("counts as absent in every optional scalar field, nested ones too", function()
    assert.equal('{"sort":{"key":"date"},"tree":{}}', body_of{
      flag = null, day = null, term = null, start = null, word = null,
      sort = { key = "date", dir = null }, tree = { name = null },
    })
    assert.equal('{"username":"u","password":"p"}',
      body_of({ username = "u", password = "p", pin = null }, "enter"))
  end)

  it("is invalid for a required field, a table, a list, an item and an option", function()
    refused({ sort = { key = null } }, "sort.key", KEY .. "crux.null")
    refused({ sort = null }, "sort", "expected a table, found crux.null")
    refused({ keys = null }, "keys", "expected a list of strings, found crux.null")
    refused({ keys = { "date", null } }, "keys[2]", KEY .. "crux.null")
    refused({ sorts = { null } }, "sorts[1]", "expected a table, found crux.null")
    refused({ grid = { { 1 }, null } }, "grid[2]", SHORT_LIST .. "crux.null")
    refused({ timeout = null }, "timeout",
      "expected a positive number of seconds, at most 60, found crux.null")
    refused({ api = null }, "api", "expected 'v1' or 'timp', found crux.null")
    refused({ order_uuid = null, line_uuid = U, api = "timp" }, "order_uuid",
      UUID .. "crux.null", "change")
  end)
end)

describe("a secret", function()
  it("is not shown where it is wrong, whatever it is", function()
    for value, found in pairs{
      [5] = "a number", [true] = "a boolean", ["\255"] = "a string of 1 bytes",
    } do
      refused({ username = "u", password = value }, "password", TEXT .. found,
        "enter")
    end
    refused({ username = "u", password = "p", pin = 100 }, "pin",
      "expected a whole number from 0 to 99, found a number", "enter")
    refused({ username = "u", password = "p", pin = "1a" }, "pin",
      "expected a whole number from 0 to 99, found a string of 2 bytes", "enter")
  end)

  it("token is not shown in any field, whoever gave it", function()
    refused({ day = "tok", token = "tok" }, "day",
      DATE .. "a string of 3 bytes")
    refused({ ["tok"] = 1, token = "tok" }, "[a string of 3 bytes]",
      NO_FIELD)
    refused({ sort = { ky = 1 }, token = "ky" }, "sort[a string of 2 bytes]", NO_SORT)
  end)
end)

describe("a field in the path", function()
  it("is in the URL and not in the body", function()
    local dry = dry_run("change", { order_uuid = U, line_uuid = S, note = "n", api = "timp" })
    local url = "https://h/timp/orders/" .. U .. "/lines/" .. S .. "/change/"
    assert.same({ "PATCH", url, '{"note":"n"}' },
      { dry.method, dry.url, dry.body })
    dry = dry_run("change", { order_uuid = U, line_uuid = S, api = "timp" })
    assert.equal("{}", dry.body)
    dry = dry_run("remove", { order_uuid = U, line_uuid = S, note = "n" })
    assert.same({ "DELETE", "https://h/lines/" .. S }, { dry.method, dry.url })
    assert.is_nil(dry.body)
  end)

  it("is checked like any other", function()
    refused({ order_uuid = U, api = "timp" }, "line_uuid", UUID .. "nothing", "change")
    refused({ order_uuid = U .. "/", line_uuid = S, api = "timp" }, "order_uuid",
      UUID .. "a string of 37 bytes", "change")
  end)
end)

describe("an endpoint", function()
  it("that the chosen API lacks is invalid, and the API is named that has it", function()
    local arguments = { order_uuid = U, line_uuid = S }
    refused(arguments, "api", "expected 'timp' for change, found 'v1'", "change")
    arguments.api = "timp"
    refused(arguments, "api", "expected 'v1' for remove, found 'timp'", "remove")
    arguments.line_uuid = 5 -- which comes first
    refused(arguments, "line_uuid", UUID .. "a number", "remove")
  end)

  it("with too many fields is found when the module is loaded", function()
    local ok, why = pcall(api.link("-DTOO_MANY"))
    assert.same({ false, "many has more than 64 fields and options" }, { ok, why })
  end)

  describe("has its own hints", function()
    local server

    setup(function() server = fault.serve{ script = helper.ANSWER, shared = {} } end)
    teardown(function() server:close() end)

    local function hint(name, status)
      server:set{ answer = helper.response(status, "{}") }
      local arguments = { token = helper.TOKEN, base_url = server.base_url }
      if name == "change" then
        arguments.order_uuid, arguments.line_uuid, arguments.api = U, S, "timp"
      elseif name == "enter" then arguments.username, arguments.password = "u", "p" end
      local _, err = helper.call(core[name], arguments)
      return err.hint
    end

    it("for a status, before those for all endpoints", function()
      assert.equal("a hint of its own", hint("change", 404))
      assert.equal("a hint for all", hint("every", 404))
      assert.is_nil(hint("every", 403))
    end)

    it("for an unknown outcome, with the call that shows what became of it", function()
      assert.equal("it may have been carried out: look with every before sending it again",
        hint("change", 500))
      assert.is_nil(hint("enter", 500):find("look", 1, true))
      assert.equal("nothing was changed: it may be tried again", hint("every", 500))
    end)
  end)

  describe("that needs no token", function()
    local server

    setup(function()
      server = fault.serve{
        script = helper.ANSWER, shared = { answer = helper.response(200, "{}") },
      }
    end)
    teardown(function() server:close() end)

    it("is sent without one, even where there is one", function()
      for _, token in ipairs{ false, "tok" } do
        local result = helper.call(core.enter, { username = "u", password = "p",
          base_url = server.base_url, token = token or nil })
        assert.equal("accepted", result.outcome)
        local sent = helper.new_requests(server)[1]
        assert.is_nil(sent:lower():find("authorization", 1, true))
        assert.is_truthy(sent:find('\r\n\r\n{"username":"u","password":"p"}', 1, true))
        assert.equal(#sent, result.meta.bytes_sent)
      end
    end)

    it("is told apart from one that needs one", function()
      local without = assert(core.client{ base_url = server.base_url })
      local request = assert(without:prepare("enter", { username = "u", password = "p" }))
      assert.is_true(request:has_token())
      assert.is_nil(request:dry_run().headers.Authorization)
      request = assert(without:prepare("every", {}))
      assert.is_false(request:has_token())
      assert.equal("Token [redacted]", request:dry_run().headers.Authorization)
      local _, err = helper.check(core.every{ base_url = server.base_url })
      assert.same({ "auth", "expected a token, found none" }, { err.kind, err.message })
      assert.same({}, helper.new_requests(server))
    end)
  end)
end)
