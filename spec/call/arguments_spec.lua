-- Arguments are checked before anything is sent: by every way in, with the same words, and nothing reaches the server.
local cjson = require "cjson"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local HUGE = math.huge

-- What the calls take, as interface.md has it; the cases below are made of it.
local SKU = {
  { "supplier_uuid", "uuid", required = true }, { "sku_id", "text" }, { "quantity", "whole" }, { "price", "decimal" },
  { "expected_sku_cost", "decimal" },
}
local EXPECTED = {
  uuid = "a UUID (8-4-4-4-12 hex digits)",
  text = "a non-empty string of UTF-8",
  whole = "a whole number from 1 to 2147483647",
  decimal = "a number or string from 0 to 99999999.99 with at most two decimals",
  list = "a list of at least one table",
}

local server, client

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url, timeout = 10 })
end)

teardown(function()
  client:close()
  server:close()
end)

local function with(arguments, more)
  local copy = {}
  for key, value in next, arguments do copy[key] = value end
  for key, value in next, more do if copy[key] == nil then copy[key] = value end end
  return setmetatable(copy, getmetatable(arguments))
end

-- Every way in, as functions of a call's name and arguments.
local WAYS = {
  { "crux.core", function(name, arguments)
    return core[name](with(arguments, { token = helper.TOKEN, base_url = server.base_url }))
  end, core = true },
  { "crux", function(name, arguments)
    return crux[name](with(arguments, { token = helper.TOKEN, base_url = server.base_url }))
  end },
  { "a client", function(name, arguments) return client[name](client, arguments) end },
  { "dry_run", function(name, arguments) return client:dry_run(name, arguments) end, dry = true },
  { "submit", function(name, arguments) return client:submit(name, arguments) end },
}

-- All names, for a field that is unknown and near to none of them.
local KNOWN = {
  sku = "supplier_uuid, sku_id, quantity, price, expected_sku_cost",
  cancel_order = "order_uuid, skus",
  get_order = "order_uuid",
  options = "token, base_url, api, timeout, connect_timeout, retries, max_connections, idle_timeout, connection_lifetime, "
    .. "ca_file, ca_path, cert_file, key_file, proxy, no_proxy, user_agent, max_body, on_event",
}

local function unknown(field, name, way)
  if field:find("^skus%[%d+%]") then return "unknown field, expected one of " .. KNOWN.sku end
  local options = way.core and KNOWN.options:gsub(" retries,", ""):gsub(", on_event", "") or KNOWN.options
  return ("unknown field, expected one of %s, %s"):format(KNOWN[name], options)
end

local function refused(arguments, field, text, name)
  for _, way in ipairs(WAYS) do
    local result, err = way[2](name or "cancel_order", arguments)
    local message = text ~= "unknown field" and text or unknown(field, name or "cancel_order", way)
    helper.check(result, err)
    -- there are thousands of these, and luassert takes its time
    local told = err and err.outcome == "not_sent" and err.kind == "invalid" and err.field == field
      and err.message == field .. ": " .. message and not err.retryable and err.meta.attempts == 0
    if not told then
      assert.same({ "not_sent", "invalid", field, field .. ": " .. message },
        { err and err.outcome, err and err.kind, err and err.field, err and err.message }, way[1])
      assert.is_true(told)
    end
  end
end

-- The JSON that the arguments become.
local function body_of(arguments)
  local seen
  for _, way in ipairs(WAYS) do
    if way.dry then
      local request, err = way[2]("cancel_order", arguments)
      assert.is_nil(err and tostring(err))
      helper.clean(request)
      seen = request.body
    end
  end
  return seen
end

local function found(value, quiet)
  local kind = type(value)
  if kind == "nil" then return "nothing" end
  if value == crux.null then return "crux.null" end
  if quiet and kind ~= "string" then return "a " .. kind end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then
    local brief = ("%.14g"):format(value)
    return tonumber(brief) == value and brief or ("%.17g"):format(value)
  end
  if kind ~= "string" then return "a " .. kind end
  if not quiet and #value <= 16 and not value:find("[^ -~]") then return "'" .. value .. "'" end
  return ("a string of %d bytes"):format(#value)
end

local NOTHING = {}
local function wrong(type_name, value)
  return ("expected %s, found %s"):format(EXPECTED[type_name], found(value, type_name == "uuid"))
end

local BAD = {
  uuid = {
    "", U:sub(1, 35), U .. "0", U .. "\n", U:gsub("%-", ""), "{" .. U .. "}", "urn:uuid:" .. U, U:gsub("5", "g", 1),
    U:gsub("%-", "_", 1), "54a31ec-5b0be-4a92-af4c-1b75fe8e6e29", U:sub(1, 35) .. "\0", " " .. U:sub(2),
    U:sub(1, 34) .. "\195\169", "secret", 1, true, false, print, NOTHING, crux.null,
  },
  text = {
    "", 106, 1.5, true, false, print, NOTHING,
    "\128", "a\255", "\192\128", "\193\191", "\224\159\191", "\237\160\128", "\240\143\191\191", "\244\144\128\128",
    "\245\128\128\128", "\226\130", "\226\130a", ("long"):rep(20) .. "\255",
  },
  whole = {
    0, -1, 1.5, 0.999, 2147483648, 2147483647.5, 1e300, HUGE, -HUGE, true, false, print, NOTHING,
    "", "0", "-1", "+1", " 1", "1 ", "1.0", "1e1", "0x10", "1,000", "2147483648", "1\0", ("0"):rep(70) .. "1",
  },
  decimal = {
    -1, -0.01, -HUGE, HUGE, 0.1 + 0.2, 1.1 * 3, 1.005 * 1000, 0.001, 1e-10, 19.999, 99999999.991, 99999999.995,
    100000000, 1e300, true, false, print, NOTHING,
    "", " ", " 1", "1 ", "1e2", ".5", "1.", ".", "-1", "-0", "+1", "1,5", "1.234", "1.2.3", "0x10", "100000000",
    "100000000.00", "inf", "nan", "1\n", "1\0", ("1"):rep(65), ("0"):rep(80), "12 345.00", "\194\1781",
  },
  list = { "", "skus", 1, true, false, print, crux.null },
}

local GOOD = {
  uuid = {
    U, U:upper(), "54A31ec5-B0BE-4a92-aF4c-1b75fe8e6E29", "00000000-0000-0000-0000-000000000000",
    "FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF",
  },
  text = {
    "000106", "7", " ", "a/b\\c\"d", "\195\169\226\130\172\240\159\152\128", "\237\159\191\238\128\128",
    "\244\143\191\191", "a\0b", "\127", ("x"):rep(5000),
  },
  whole = {
    { 1, "1" }, { 2, "2" }, { 7.0, "7" }, { 100000, "100000" }, { 1e9, "1000000000" }, { 2147483647, "2147483647" },
    { 2147483646.0, "2147483646" }, { "2", "2" }, { "007", "7" }, { "2147483647", "2147483647" },
  },
  decimal = {
    { 0, "0.00" }, { -0.0, "0.00" }, { 7, "7.00" }, { 7.5, "7.50" }, { 0.01, "0.01" }, { 0.1, "0.10" },
    { 0.29, "0.29" }, { 1.1, "1.10" }, { 4.35, "4.35" }, { 19.99, "19.99" }, { 99999999.99, "99999999.99" },
    { 99999999, "99999999.00" }, { 1e7, "10000000.00" },
    { "7", "7.00" }, { "7.5", "7.50" }, { "7.05", "7.05" }, { "0", "0.00" }, { "0.0", "0.00" },
    { "99999999.99", "99999999.99" }, { "007.5", "7.50" }, { "0000000000000007", "7.00" },
  },
}

-- Every cent up to thirty, and some of the greatest sums.
local function many_cents(visit)
  for cents = 0, 2999 do visit(cents) end
  for i = 0, 500 do visit(9999999999 - i * 19999937) end
end

local function sku(name, value)
  local made = { supplier_uuid = S }
  if name then made[name] = value end
  return { order_uuid = U, skus = { made } }
end

describe("a value", function()
  it("of order_uuid is refused unless it is a UUID", function()
    for _, value in ipairs(BAD.uuid) do
      for _, name in ipairs{ "cancel_order", "get_order" } do
        refused({ order_uuid = value }, "order_uuid", wrong("uuid", value), name)
      end
    end
    for _, name in ipairs{ "cancel_order", "get_order" } do refused({}, "order_uuid", wrong("uuid", nil), name) end
  end)

  for _, row in ipairs(SKU) do
    local name, type_name = row[1], row[2]
    it(("of %s is refused unless it is %s"):format(name, EXPECTED[type_name]), function()
      for _, value in ipairs(BAD[type_name]) do
        refused(sku(name, value), "skus[1]." .. name, wrong(type_name, value))
      end
      if row.required then
        refused({ order_uuid = U, skus = { { supplier_uuid = S }, {} } }, "skus[2]." .. name, wrong(type_name, nil))
      end
    end)

    it(("of %s is sent as interface.md says"):format(name), function()
      for _, value in ipairs(GOOD[type_name]) do
        local given, wire = value, nil
        if type(value) == "table" then given, wire = value[1], value[2] end
        local text = body_of(sku(name, given))
        local decoded = cjson.decode(text)
        assert.equal(U, decoded.order_uuid)
        assert.equal(1, #decoded.skus)
        if type_name == "whole" then
          assert.is_truthy((text .. ","):gsub("}", ","):find(('"%s":%s,'):format(name, wire), 1, true), text)
        else
          assert.equal(wire or given, decoded.skus[1][name])
        end
      end
    end)
  end

  it("of crux.null counts as left out in an optional field", function()
    for _, name in ipairs{ "sku_id", "quantity", "price", "expected_sku_cost" } do
      assert.same({ order_uuid = U, skus = { { supplier_uuid = S } } }, cjson.decode(body_of(sku(name, crux.null))))
    end
    local row = cjson.decode(('{"supplier_uuid":%q,"sku_id":null,"quantity":3,"price":null,"expected_sku_cost":7}'):format(S))
    assert.same({ { supplier_uuid = S, quantity = 3, expected_sku_cost = "7.00" }, { supplier_uuid = S } },
      cjson.decode(body_of{ order_uuid = U, skus = { row, { supplier_uuid = S, quantity = crux.null } } }).skus)
  end)

  it("of crux.null is invalid in a required field, as a list and as an item of one", function()
    refused({ order_uuid = crux.null }, "order_uuid", wrong("uuid", crux.null))
    refused({ order_uuid = crux.null }, "order_uuid", wrong("uuid", crux.null), "get_order")
    refused({ order_uuid = U, skus = { { supplier_uuid = crux.null, quantity = crux.null } } }, "skus[1].supplier_uuid",
      wrong("uuid", crux.null))
    refused({ order_uuid = U, skus = crux.null }, "skus", wrong("list", crux.null))
    refused({ order_uuid = U, skus = { { supplier_uuid = S }, crux.null } }, "skus[2]", "expected a table, found crux.null")
  end)

  it("of NaN is invalid for a quantity and for prices", function()
    for _, name in ipairs{ "quantity", "price", "expected_sku_cost" } do
      local _, err = helper.call(client.cancel_order, client, sku(name, 0 / 0))
      assert.equal("skus[1]." .. name, err.field)
      assert.is_truthy(err.message:find("found %-?nan$"))
    end
  end)

  it("of the price is the same sum, whatever it is given as", function()
    local function check(given, text)
      local body = client:dry_run("cancel_order", sku("price", given)).body
      if not body:find('"price":"' .. text .. '"', 1, true) then assert.equal(text, body) end
    end
    many_cents(function(cents)
      local text = ("%.0f.%02d"):format(math.floor(cents / 100), cents % 100)
      check(text, text)
      check(cents / 100, text)
    end)
  end)

  it("is never echoed where a UUID was expected, nor where it is long", function()
    local secret = "a-secret-of-somebody"
    helper.watch(secret)
    refused({ order_uuid = secret }, "order_uuid",
      "expected a UUID (8-4-4-4-12 hex digits), found a string of 20 bytes")
    for _, row in ipairs(SKU) do
      if row[2] ~= "text" then
        local _, err = helper.call(client.cancel_order, client, sku(row[1], secret))
        assert.is_truthy(err.message:find("found a string of 20 bytes", 1, true))
      end
    end
  end)
end)

describe("a list", function()
  local one = { supplier_uuid = S }

  it("is one, and not empty", function()
    for _, value in ipairs(BAD.list) do refused({ order_uuid = U, skus = value }, "skus", wrong("list", value)) end
    refused({ order_uuid = U, skus = {} }, "skus", "expected a list of at least one table, found an empty one")
  end)

  it("has no other keys", function()
    for _, key in ipairs{ "n", "supplier_uuid", 0, -1, 1.5, HUGE, true, print } do
      refused({ order_uuid = U, skus = { one, [key] = one } }, "skus",
        "expected a list, found a table with other keys than 1, 2, 3")
    end
    refused({ order_uuid = U, skus = one }, "skus", "expected a list, found a table with other keys than 1, 2, 3")
  end)

  it("has no holes", function()
    local message = "expected a list without holes, found nothing"
    refused({ order_uuid = U, skus = { one, nil, one } }, "skus[2]", message)
    refused({ order_uuid = U, skus = { [2] = one } }, "skus[1]", message)
    refused({ order_uuid = U, skus = { one, one, [5] = one } }, "skus[3]", message)
    refused({ order_uuid = U, skus = { one, [2 ^ 40] = one } }, "skus[2]", message)
  end)

  it("holds tables", function()
    for _, value in ipairs{ S, 1, true, false, print, crux.null } do
      refused({ order_uuid = U, skus = { one, value, one } }, "skus[2]",
        ("expected a table, found %s"):format(found(value)))
    end
  end)

  it("is left out where it was not given, and an item's order is kept", function()
    assert.same({ order_uuid = U }, cjson.decode(body_of{ order_uuid = U }))
    local skus = {}
    for i = 1, 500 do skus[i] = { supplier_uuid = S, sku_id = ("%06d"):format(i), quantity = i } end
    assert.same({ order_uuid = U, skus = skus }, cjson.decode(body_of{ order_uuid = U, skus = skus }))
  end)

  it("says which item is at fault", function()
    local skus = {}
    for i = 1, 12 do skus[i] = { supplier_uuid = S } end
    skus[11].quantity, skus[12].quantity = 0, 0
    refused({ order_uuid = U, skus = skus }, "skus[11].quantity", wrong("whole", 0))
  end)
end)

describe("a table", function()
  local function trap() error("a metamethod was called") end
  local TRAPS = { __index = trap, __len = trap, __pairs = trap, __ipairs = trap, __newindex = trap, __tostring = trap,
    __eq = trap }

  it("is read raw", function()
    local plain = { order_uuid = U, skus = { { supplier_uuid = S, quantity = 2 } } }
    local trapped = setmetatable({
      order_uuid = U, skus = setmetatable({ setmetatable({ supplier_uuid = S, quantity = 2 }, TRAPS) }, TRAPS),
    }, TRAPS)
    assert.same(cjson.decode(body_of(plain)), cjson.decode(body_of(trapped)))
    for _, way in ipairs(WAYS) do
      if way[1] ~= "submit" and not way.dry then helper.call(way[2], "cancel_order", trapped) end
    end
    assert.equal(3, server:record(true).requests)
    local behind = setmetatable({}, { __index = { order_uuid = U } })
    refused(behind, "order_uuid", wrong("uuid", nil))
    local one = { __index = { { supplier_uuid = S } }, __len = function() return 1 end }
    refused({ order_uuid = U, skus = setmetatable({}, one) }, "skus",
      "expected a list of at least one table, found an empty one")
    refused({ order_uuid = U, skus = { setmetatable({}, { __index = { supplier_uuid = S } }) } },
      "skus[1].supplier_uuid", wrong("uuid", nil))
    local body = body_of(setmetatable({ order_uuid = U }, { __index = { skus = { { supplier_uuid = S } } } }))
    assert.same({ order_uuid = U }, cjson.decode(body))
  end)

  it("is not changed", function()
    local arguments = { order_uuid = U, skus = { { supplier_uuid = S, quantity = 2.0, price = 7 } }, timeout = 5 }
    for _, way in ipairs(WAYS) do
      if not way.dry and not way.core then way[2]("cancel_order", arguments) end
    end
    assert.same({ order_uuid = U, skus = { { supplier_uuid = S, quantity = 2.0, price = 7 } }, timeout = 5 }, arguments)
  end)
end)

describe("an unknown field", function()
  it("comes with the nearest name", function()
    for name, near in pairs{
      order_uid = "order_uuid", oder_uuid = "order_uuid", Order_uuid = "order_uuid", orderuuid = "order_uuid",
        sku = "skus", skuss = "skus",
      tokn = "token", timout = "timeout", time_out = "timeout", baseurl = "base_url", max_boddy = "max_body",
        ca_fil = "ca_file",
      conect_timeout = "connect_timeout", tokne = "token", proyx = "proxy", ORDER_UUID = "order_uuid",
        orderUUID = "order_uuid", TIMEOUT = "timeout", baseURL = "base_url",
    } do
      refused({ [name] = "x" }, name, ("unknown field, did you mean '%s'?"):format(near))
    end
    for name, near in pairs{
      supplier_uid = "supplier_uuid", suplier_uuid = "supplier_uuid", skuid = "sku_id", sku_Id = "sku_id",
        quantitiy = "quantity", prise = "price",
      expected_sku_cots = "expected_sku_cost", QUANTITY = "quantity", SupplierUUID = "supplier_uuid",
    } do
      refused(sku(name, "x"), "skus[1]." .. name, ("unknown field, did you mean '%s'?"):format(near))
    end
  end)

  it("that is near to none comes with all that there are, and options are none of a SKU's", function()
    for _, name in ipairs{ "xyz", "uuid_of_the_order", "line_items", "q" } do
      refused({ [name] = 1 }, name, "unknown field")
    end
    for _, name in ipairs{ "timeout", "token", "order_uuid", "skus", "cost" } do
      refused(sku(name, 1), "skus[1]." .. name, "unknown field")
    end
    refused({ order_uuid = U, skus = { { supplier_uuid = S } } }, "skus", "unknown field", "get_order")
  end)

  it("comes before any other fault, nested ones too", function()
    refused({ zzz = 1 }, "zzz", "unknown field")
    refused({ order_uuid = 5, skus = 5, zzz = 1, timeout = -1 }, "zzz", "unknown field")
    refused({ order_uuid = 5, skus = { { supplier_uuid = S, zzz = 1 } } }, "skus[1].zzz", "unknown field")
    refused({ order_uuid = U, skus = { { quantity = 0 }, { supplier_uuid = S, zzz = 1 } } }, "skus[2].zzz",
      "unknown field")
    refused({ timeout = -1, order_uuid = U, skus = { 5, { zzz = 1 } } }, "skus[2].zzz", "unknown field")
    refused({ order_uuid = U, skus = { { supplier_uuid = S }, nil, { supplier_uuid = S, zzz = 1 } } }, "skus[3].zzz",
      "unknown field")
    refused({ yyy = 1, order_uuid = U, skus = { { zzz = 1 } } }, "yyy", "unknown field")
  end)

  it("is the first by name of several, however the table was filled", function()
    local names = { "aaa", "bbb", "ccc", "ddd", "eee", "fff" }
    for first = 1, #names do
      local arguments = { order_uuid = U }
      for i = 0, #names - 1 do arguments[names[(first + i * 5) % #names + 1]] = i end
      refused(arguments, "aaa", "unknown field")
    end
  end)

  it("may be no string", function()
    refused({ U }, "[1]", "unknown field")
    refused({ order_uuid = U, [1.5] = 1 }, "[1.5]", "unknown field")
    refused({ order_uuid = U, [true] = 1 }, "[boolean]", "unknown field")
    refused({ order_uuid = U, [print] = 1 }, "[function]", "unknown field")
    refused({ order_uuid = U, [""] = 1 }, "[a string of 0 bytes]", "unknown field")
    refused({ order_uuid = U, ["order uuid"] = 1 }, "[a string of 10 bytes]", "unknown field")
    refused({ order_uuid = U, ["a\nb"] = 1 }, "[a string of 3 bytes]", "unknown field")
    refused({ order_uuid = U, ["order_uuid\0"] = 1 }, "[a string of 11 bytes]", "unknown field")
    refused({ order_uuid = U, ["[1]"] = 1 }, "[a string of 3 bytes]", "unknown field")
    refused(sku(2, 1), "skus[1][2]", "unknown field")
    refused(sku(print, 1), "skus[1][function]", "unknown field")
    refused(sku("sku id", 1), "skus[1][a string of 6 bytes]", "unknown field")
  end)

  it("is not shown where it may be a secret in the wrong place", function()
    refused({ [helper.TOKEN] = true }, ("[a string of %d bytes]"):format(#helper.TOKEN), "unknown field")
    refused({ [U] = true }, "[a string of 36 bytes]", "unknown field")
  end)

  it("is what the Lua layer alone knows, to crux.core", function()
    for name, value in pairs{ retries = 1, on_event = print } do
      local arguments = { order_uuid = U, token = helper.TOKEN, base_url = server.base_url, [name] = value }
      local _, err = helper.call(core.cancel_order, arguments)
      assert.same({ "invalid", name }, { err.kind, err.field })
      assert.is_truthy(client:dry_run("cancel_order", { order_uuid = U, [name] = value }))
    end
  end)
end)

describe("of several faults", function()
  it("the first in the order of interface.md is reported", function()
    refused({ order_uuid = 1, skus = 1 }, "order_uuid", wrong("uuid", 1))
    local item = { supplier_uuid = 1, sku_id = 1, quantity = 0, price = -1, expected_sku_cost = -1 }
    local values = { S, "1", 1, 1, 1 }
    for i, row in ipairs(SKU) do
      refused({ order_uuid = U, skus = { item, 5 } }, "skus[1]." .. row[1], wrong(row[2], item[row[1]]))
      item[row[1]] = values[i]
    end
    refused({ order_uuid = U, skus = { item, 5 } }, "skus[2]", "expected a table, found 5")
  end)
end)

describe("a token", function()
  it("is refused where it cannot stand in a header, and not echoed", function()
    for _, token in ipairs{ "", "with space", "tab\t", "line\r\nX-Evil: 1", "nul\0", "caf\195\169", "\127del", " lead",
      "trail\n", "trail\r\n", 5, true, {} } do
      for _, way in ipairs(WAYS) do
        local result, err = way[2]("cancel_order", { order_uuid = U, token = token })
        assert.is_nil(result)
        helper.check(result, err)
        if type(token) == "string" and #token > 0 then helper.clean(err, token) end
        assert.same({ "invalid", "token", "not_sent" }, { err.kind, err.field, err.outcome })
        local what = way.core and "a string of printable ASCII without spaces"
          or "a string of printable ASCII without spaces, or a function"
        local ending = type(token) == "string" and token:find("[\r\n]$") and " that ends in a newline" or ""
        assert.equal(("token: expected %s, found %s%s"):format(what, found(token, true), ending), err.message)
      end
    end
  end)

  it("is a string to crux.core", function()
    local _, err = helper.call(core.cancel_order, { order_uuid = U, token = function() return helper.TOKEN end,
      base_url = server.base_url })
    assert.equal("token: expected a string of printable ASCII without spaces, found a function", err.message)
  end)

  it("is missing: kind auth", function()
    for _, call in ipairs{ core.cancel_order, crux.cancel_order } do
      local _, err = helper.call(call, { order_uuid = U, base_url = server.base_url })
      assert.same({ "auth", "not_sent", false }, { err.kind, err.outcome, err.retryable })
      assert.equal("expected a token, found none", err.message)
      assert.is_truthy(err.hint:find("CRUX_TOKEN", 1, true))
    end
  end)
end)

describe("a token in the wrong place", function()
  local short, own = "short-token", "own-token"
  local mine

  setup(function() mine = assert(crux.new{ token = short, base_url = server.base_url }) end)
  teardown(function() mine:close() end)

  local function hidden(token, arguments, field)
    local _, err = helper.call(mine.cancel_order, mine, arguments)
    helper.clean(err, token)
    assert.same({ "invalid", field }, { err.kind, err.field })
    assert.is_truthy(err.message:find(("a string of %d bytes"):format(#token), 1, true), err.message)
  end

  it("is not shown, however short", function()
    for token, given in pairs{ [short] = false, [own] = own } do
      local function hide(name, value, field)
        hidden(token, { order_uuid = U, token = given or nil, [name] = value }, field or name)
      end
      local name = ("[a string of %d bytes]"):format(#token)
      hide(token, true, name)
      for _, option in ipairs{ "api", "timeout", "retries", "max_body", "on_event", "skus" } do hide(option, token) end
      hide("skus", { token }, "skus[1]")
      hide("skus", { { supplier_uuid = S, [token] = 1 } }, "skus[1]" .. name)
      hide("skus", { { supplier_uuid = S, quantity = token } }, "skus[1].quantity")
      hide("skus", { { supplier_uuid = S, price = token } }, "skus[1].price")
    end
    for _, options in ipairs{ { token = own, [own] = 1 }, { token = own, api = own } } do
      local _, err = helper.call(crux.new, options)
      assert.equal("invalid", err.kind)
      helper.clean(err, own)
    end
  end)
end)

describe("misuse raises:", function()
  local function raises(text, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.is_truthy(tostring(message):find(text, 1, true), tostring(message))
  end

  it("arguments that are no table", function()
    for _, value in ipairs{ "x", 1, true, print } do
      for _, call in ipairs{ core.cancel_order, core.get_order, crux.cancel_order, crux.get_order } do
        raises("table", call, value)
      end
      for _, name in ipairs{ "cancel_order", "get_order" } do
        raises("expected a table", client[name], client, value)
      end
      raises("expected a table", client.dry_run, client, "cancel_order", value)
      raises("expected a table", client.submit, client, "cancel_order", value)
      raises("expected a table", crux.new, value)
    end
    raises("table", core.cancel_order)
    raises("expected a table", crux.cancel_order)
    raises("expected a table", client.cancel_order, client)
  end)

  it("of the line that it stands on", function()
    local calls = {
      function() client:cancel_order(1) end,
      function() client:call("get_order", 1) end,
      function() client:dry_run("cancel_order", 1) end,
      function() client:submit("cancel_order", 1) end,
      function() crux.get_order(1) end,
      function() crux.new(1) end,
    }
    for _, call in ipairs(calls) do
      -- 5.1 knows nothing of a line that a tail call was made for
      local line = _VERSION == "Lua 5.1" and "" or ":" .. debug.getinfo(call, "S").linedefined .. ": "
      raises(line .. "expected a table", call)
    end
    for _, call in ipairs{
      function() client.cancel_order({}) end, function() crux:get_order({}) end, function() client.submit("get_order", {}) end,
      function() client.close() end, function() crux:new() end,
    } do
      local line = _VERSION == "Lua 5.1" and "" or ":" .. debug.getinfo(call, "S").linedefined .. ": "
      raises(line .. "expected c", call)
    end
  end)

  it("an unknown call, with the names that there are", function()
    for _, method in ipairs{ "dry_run", "submit", "call" } do
      raises("expected the name of a call, found 'cancel'; there are cancel_order, get_order", client[method], client, "cancel",
        { order_uuid = U })
      raises("found another string; there are cancel_order, get_order", client[method], client, helper.TOKEN, {})
      raises("found a nil; there are", client[method], client, nil, {})
    end
    assert.is_nil(client.cancel)
  end)

  it("a call with a dot of what takes a colon, and the other way", function()
    for _, name in ipairs{ "cancel_order", "get_order" } do
      local colon = ("expected client:%s{...}, found client.%s{...}: write a colon"):format(name, name)
      raises(colon, client[name], { order_uuid = U })
      raises(colon, client[name])
      raises(colon, client[name], "x")
      raises(colon, client[name], { order_uuid = U }, { timeout = 1 })
      raises(("expected crux.%s{...}, found crux:%s{...}: write a dot"):format(name, name), crux[name], crux, { order_uuid = U })
    end
    for _, name in ipairs{
      "call", "dry_run", "submit", "step", "in_flight", "pollfd", "events", "timeout", "cancel_orders", "close",
    } do
      local colon = ("expected client:%s(...), found client.%s(...): write a colon"):format(name, name)
      raises(colon, client[name])
      raises(colon, client[name], "cancel_order", { order_uuid = U })
      raises(colon, client[name], { { order_uuid = U } })
    end
    raises("expected crux.new{...}, found crux:new{...}: write a dot", crux.new, crux, { token = "t" })
    raises("expected crux.new{...}, found crux:new{...}: write a dot", crux.new, crux)
  end)

  it("a value of another type for one of crux.core's own", function()
    for _, value in ipairs{ {}, 1, io.stdout, core.inbox() } do
      raises("expected crux.request, found " .. type(value), core.perform, value, "t", 0)
      raises("expected crux.request, found " .. type(value), core.release, value)
    end
  end)

  it("a closed client", function()
    local closed = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
    closed:close()
    closed:close()
    raises("closed", closed.cancel_order, closed, { order_uuid = U })
    raises("closed", closed.get_order, closed, { order_uuid = U })
    raises("closed", closed.dry_run, closed, "cancel_order", { order_uuid = U })
    raises("closed", closed.submit, closed, "cancel_order", { order_uuid = U })
    assert.is_truthy(tostring(closed):find("closed", 1, true))
  end)
end)

describe("the server", function()
  it("has seen none of what was refused", function()
    local fresh = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
    local asked = server
    server = fresh
    local own = client
    client = assert(crux.new{ token = helper.TOKEN, base_url = fresh.base_url })
    for _, row in ipairs(SKU) do
      for _, value in ipairs(BAD[row[2]]) do refused(sku(row[1], value), "skus[1]." .. row[1], wrong(row[2], value)) end
    end
    refused({ order_uuid = U, zzz = 1 }, "zzz", "unknown field")
    assert.equal(0, fresh:record().connections)
    client:close()
    fresh:close()
    server, client = asked, own
  end)
end)
