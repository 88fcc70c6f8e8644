-- Unknown fields in arguments, and which of several errors is reported.
local arguments = require "spec.support.arguments"
local core = require "crux.core"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local SKU = arguments.SKU
local refused, wrong, sku = arguments.refused, arguments.wrong, arguments.sku

local client, server

setup(function() client, server = arguments.open() end)
teardown(arguments.close)

describe("an unknown field", function()
  it("is refused with the nearest name", function()
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

  it("with no near name is refused with the list of names", function()
    for _, name in ipairs{ "xyz", "uuid_of_the_order", "line_items", "q" } do
      refused({ [name] = 1 }, name, "unknown field")
    end
    for _, name in ipairs{ "timeout", "token", "order_uuid", "skus", "cost" } do
      refused(sku(name, 1), "skus[1]." .. name, "unknown field")
    end
    refused({ order_uuid = U, skus = { { supplier_uuid = S } } }, "skus", "unknown field", "get_order")
  end)

  it("is reported before any other error", function()
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

  it("is the first by name if there are several", function()
    local names = { "aaa", "bbb", "ccc", "ddd", "eee", "fff" }
    for first = 1, #names do
      local given = { order_uuid = U }
      for i = 0, #names - 1 do given[names[(first + i * 5) % #names + 1]] = i end
      refused(given, "aaa", "unknown field")
    end
  end)

  it("is shown by its type if it is no string", function()
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

  it("is not shown if it may be a secret", function()
    refused({ [helper.TOKEN] = true }, ("[a string of %d bytes]"):format(#helper.TOKEN), "unknown field")
    refused({ [U] = true }, "[a string of 36 bytes]", "unknown field")
  end)

  it("is what only the Lua layer knows for crux.core", function()
    for name, value in pairs{ retries = 1, on_event = print } do
      local given = { order_uuid = U, token = helper.TOKEN, base_url = server.base_url, [name] = value }
      local _, err = helper.call(core.cancel_order, given)
      assert.same({ "invalid", name }, { err.kind, err.field })
      assert.is_truthy(client:dry_run("cancel_order", { order_uuid = U, [name] = value }))
    end
  end)
end)

describe("of several invalid fields", function()
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
