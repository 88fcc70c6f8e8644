-- Arguments are checked before anything is sent: by every way to call, with the same words. Nothing
-- invalid is sent.
local arguments = require "spec.support.arguments"
local cjson = require "cjson"
local crux = require "crux"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local HUGE = math.huge
local EXPECTED = arguments.EXPECTED
local SKU = arguments.SKU
local WAYS = arguments.WAYS
local BAD = arguments.BAD
local GOOD = arguments.GOOD
local refused = arguments.refused
local body_of = arguments.body_of
local found = arguments.found
local wrong = arguments.wrong
local sku = arguments.sku

local client, server

setup(function() client, server = arguments.open() end)
teardown(arguments.close)

-- Every cent up to thirty, and some of the greatest sums.
local function many_cents(visit)
  for cents = 0, 2999 do visit(cents) end
  for i = 0, 500 do visit(9999999999 - i * 19999937) end
end

describe("an argument:", function()
  it("order_uuid is refused unless it is a UUID", function()
    for _, value in ipairs(BAD.uuid) do
      for _, name in ipairs{ "cancel_order", "get_order" } do
        refused({ order_uuid = value }, "order_uuid", wrong("uuid", value), name)
      end
    end
    for _, name in ipairs{ "cancel_order", "get_order" } do refused({}, "order_uuid", wrong("uuid", nil), name) end
  end)

  for _, row in ipairs(SKU) do
    local name, type_name = row[1], row[2]
    it(("%s is refused unless it is %s"):format(name, EXPECTED[type_name]), function()
      for _, value in ipairs(BAD[type_name]) do
        refused(sku(name, value), "skus[1]." .. name, wrong(type_name, value))
      end
      if row.required then
        refused({ order_uuid = U, skus = { { supplier_uuid = S }, {} } }, "skus[2]." .. name, wrong(type_name, nil))
      end
    end)

    it(("%s is sent in the documented form"):format(name), function()
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

  it("crux.null counts as left out in an optional field", function()
    for _, name in ipairs{ "sku_id", "quantity", "price", "expected_sku_cost" } do
      assert.same({ order_uuid = U, skus = { { supplier_uuid = S } } }, cjson.decode(body_of(sku(name, crux.null))))
    end
    local row = cjson.decode(('{"supplier_uuid":%q,"sku_id":null,"quantity":3,"price":null,"expected_sku_cost":7}'):format(S))
    assert.same({ { supplier_uuid = S, quantity = 3, expected_sku_cost = "7.00" }, { supplier_uuid = S } },
      cjson.decode(body_of{ order_uuid = U, skus = { row, { supplier_uuid = S, quantity = crux.null } } }).skus)
  end)

  it("crux.null is invalid in a required field, as a list and in a list", function()
    refused({ order_uuid = crux.null }, "order_uuid", wrong("uuid", crux.null))
    refused({ order_uuid = crux.null }, "order_uuid", wrong("uuid", crux.null), "get_order")
    refused({ order_uuid = U, skus = { { supplier_uuid = crux.null, quantity = crux.null } } }, "skus[1].supplier_uuid",
      wrong("uuid", crux.null))
    refused({ order_uuid = U, skus = crux.null }, "skus", wrong("list", crux.null))
    refused({ order_uuid = U, skus = { { supplier_uuid = S }, crux.null } }, "skus[2]", "expected a table, found crux.null")
  end)

  it("NaN is invalid for a quantity and for prices", function()
    for _, name in ipairs{ "quantity", "price", "expected_sku_cost" } do
      local _, err = helper.call(client.cancel_order, client, sku(name, 0 / 0))
      assert.equal("skus[1]." .. name, err.field)
      assert.is_truthy(err.message:find("found %-?nan$"))
    end
  end)

  it("a price is sent the same as a number and as a string", function()
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

  it("a value is not shown if it is long or in place of a UUID", function()
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

describe("the list skus", function()
  local one = { supplier_uuid = S }

  it("must be a list with at least one item", function()
    for _, value in ipairs(BAD.list) do refused({ order_uuid = U, skus = value }, "skus", wrong("list", value)) end
    refused({ order_uuid = U, skus = {} }, "skus", "expected a list of at least one table, found an empty one")
  end)

  it("must have no other keys", function()
    for _, key in ipairs{ "n", "supplier_uuid", 0, -1, 1.5, HUGE, true, print } do
      refused({ order_uuid = U, skus = { one, [key] = one } }, "skus",
        "expected a list, found a table with other keys than 1, 2, 3")
    end
    refused({ order_uuid = U, skus = one }, "skus", "expected a list, found a table with other keys than 1, 2, 3")
  end)

  it("must have no holes", function()
    local message = "expected a list without holes, found nothing"
    refused({ order_uuid = U, skus = { one, nil, one } }, "skus[2]", message)
    refused({ order_uuid = U, skus = { [2] = one } }, "skus[1]", message)
    refused({ order_uuid = U, skus = { one, one, [5] = one } }, "skus[3]", message)
    refused({ order_uuid = U, skus = { one, [2 ^ 40] = one } }, "skus[2]", message)
  end)

  it("must hold tables", function()
    for _, value in ipairs{ S, 1, true, false, print, crux.null } do
      refused({ order_uuid = U, skus = { one, value, one } }, "skus[2]",
        ("expected a table, found %s"):format(found(value)))
    end
  end)

  it("is optional, and keeps the order of its items", function()
    assert.same({ order_uuid = U }, cjson.decode(body_of{ order_uuid = U }))
    local skus = {}
    for i = 1, 500 do skus[i] = { supplier_uuid = S, sku_id = ("%06d"):format(i), quantity = i } end
    assert.same({ order_uuid = U, skus = skus }, cjson.decode(body_of{ order_uuid = U, skus = skus }))
  end)

  it("is refused with the index of the wrong item", function()
    local skus = {}
    for i = 1, 12 do skus[i] = { supplier_uuid = S } end
    skus[11].quantity, skus[12].quantity = 0, 0
    refused({ order_uuid = U, skus = skus }, "skus[11].quantity", wrong("whole", 0))
  end)
end)

describe("a table of arguments", function()
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

  it("is not changed by a call", function()
    local given = { order_uuid = U, skus = { { supplier_uuid = S, quantity = 2.0, price = 7 } }, timeout = 5 }
    for _, way in ipairs(WAYS) do
      if not way.dry and not way.core then way[2]("cancel_order", given) end
    end
    assert.same({ order_uuid = U, skus = { { supplier_uuid = S, quantity = 2.0, price = 7 } }, timeout = 5 }, given)
  end)
end)

describe("a server", function()
  it("receives nothing of a refused call", function()
    arguments.close()
    client, server = arguments.open()
    for _, row in ipairs(SKU) do
      for _, value in ipairs(BAD[row[2]]) do refused(sku(row[1], value), "skus[1]." .. row[1], wrong(row[2], value)) end
    end
    refused({ order_uuid = U, zzz = 1 }, "zzz", "unknown field")
    assert.equal(0, server:record().connections)
  end)
end)
