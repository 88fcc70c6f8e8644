-- crux.cancellation: what a decoded order of either generation says about its cancellation.
local cancellation = require "crux.cancellation"
local core = require "crux.core"

local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"
local OTHER = "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"

local function v1(status, more)
  local line = { uuid = "l-1", status = status, sku_id = "000106", supplier_uuid = SUPPLIER,
    tracking_numbers = {}, allocation = { quantity_ordered = 2, quantity_rejected = 0 } }
  for name, value in pairs(more or {}) do line[name] = value end
  return line
end

local function timp(designation, more)
  local line = { line_item_uuid = "l-1", status = "Unallocated", sku_id = "000106",
    line_item_designation = designation, supplier = { uuid = SUPPLIER }, tracking = core.null,
    allocation = core.null }
  for name, value in pairs(more or {}) do line[name] = value end
  return line
end

local function state_of(...)
  local shown = assert(cancellation{ line_items = { ... } })
  return shown.state, shown.items
end

describe("crux.cancellation", function()
  for _, case in ipairs{
    { "a v1 line with status Cancelled", v1("Cancelled"), "cancelled" },
    { "a v1 line with status Unallocated", v1("Unallocated"), "open" },
    { "a v1 line with status Allocated", v1("Allocated"), "open" },
    { "a v1 line with status Backordered", v1("Backordered"), "open" },
    { "a v1 line with an unknown status", v1("Lost"), "open" },
    { "a v1 line with status Rejected", v1("Rejected"), "closed" },
    { "a v1 line with status HasTracking", v1("HasTracking"), "closed" },
    { "a v1 line with a tracking number",
      v1("Allocated", { tracking_numbers = { "1Z9" } }), "closed" },
    { "a cancelled v1 line with a tracking number",
      v1("Cancelled", { tracking_numbers = { "1Z9" } }), "cancelled" },
    { "a timp line designated Cancelled", timp("Cancelled"), "cancelled" },
    { "a timp line designated by number and name", timp("ID: 5 Name: Cancelled"), "cancelled" },
    { "a timp line with status Cancelled", timp(core.null, { status = "Cancelled" }), "cancelled" },
    { "a timp line designated HasTracking by name", timp("ID: 1 Name: HasTracking"), "closed" },
    { "a timp line designated Rejected", timp("Rejected"), "closed" },
    { "a timp line with tracking", timp(core.null, { tracking = { { number = "1Z9" } } }), "closed" },
    { "a timp line with empty tracking", timp(core.null, { tracking = {} }), "open" },
    { "a timp line without a designation", timp(core.null), "open" },
    { "a timp line designated NotCancelled", timp("NotCancelled"), "open" },
    { "a timp line designated by a longer name", timp("Name: Cancelled later"), "open" },
    { "a line without a status", { uuid = "l-1" }, "open" },
  } do
    it("takes " .. case[1] .. " for " .. case[3], function()
      local state, items = state_of(case[2])
      assert.equal(case[3], state)
      assert.equal(case[3], items[1].state)
      assert.equal(case[2], items[1].line)
    end)
  end

  for _, case in ipairs{
    { "cancelled if every line is", { "Cancelled", "Cancelled" }, "cancelled" },
    { "open if any line is", { "Cancelled", "Rejected", "Allocated" }, "open" },
    { "partial if some lines are cancelled and the others closed", { "Cancelled", "Rejected" }, "partial" },
    { "closed if no line is cancelled or open", { "Rejected", "HasTracking" }, "closed" },
  } do
    it("is " .. case[1], function()
      local lines = {}
      for i, status in ipairs(case[2]) do lines[i] = v1(status) end
      assert.equal(case[3], assert(cancellation{ line_items = lines }).state)
    end)
  end

  it("names a v1 line by uuid, supplier and counts", function()
    local _, items = state_of(v1("Allocated"))
    items[1].line = nil
    assert.same({ uuid = "l-1", sku_id = "000106", supplier_uuid = SUPPLIER, state = "open",
      ordered = 2, rejected = 0 }, items[1])
  end)

  it("names a timp line by line_item_uuid and leaves counts out where allocation is null", function()
    local _, items = state_of(timp(core.null))
    items[1].line = nil
    assert.same({ uuid = "l-1", sku_id = "000106", supplier_uuid = SUPPLIER, state = "open" }, items[1])
  end)

  describe("with skus", function()
    local order = { line_items = {
      v1("Cancelled"),
      v1("Allocated", { uuid = "l-2", sku_id = "000107" }),
      v1("Rejected", { uuid = "l-3", supplier_uuid = OTHER }),
    } }

    for _, case in ipairs{
      { "every line of a supplier", { { supplier_uuid = SUPPLIER } }, "open", { "l-1", "l-2" } },
      { "one line by sku_id", { { supplier_uuid = SUPPLIER, sku_id = "000106" } }, "cancelled", { "l-1" } },
      { "a supplier in capitals", { { supplier_uuid = OTHER:upper() } }, "closed", { "l-3" } },
      { "a SKU whose sku_id is null", { { supplier_uuid = OTHER, sku_id = core.null } }, "closed", { "l-3" } },
      { "two SKUs", { { supplier_uuid = OTHER }, { supplier_uuid = SUPPLIER, sku_id = "000106" } },
        "partial", { "l-1", "l-3" } },
    } do
      it("looks at " .. case[1] .. " alone", function()
        local shown = assert(cancellation(order, case[2]))
        local uuids = {}
        for i, item in ipairs(shown.items) do uuids[i] = item.uuid end
        assert.equal(case[3], shown.state)
        assert.same(case[4], uuids)
      end)
    end

    for _, case in ipairs{
      { "a supplier that has no line", { { supplier_uuid = SUPPLIER }, { supplier_uuid = "x" } }, "skus[2]" },
      { "a sku_id that has no line", { { supplier_uuid = OTHER, sku_id = "000107" } }, "skus[1]" },
      { "an item that is no table", { "000106" }, "skus[1]" },
      { "an empty list", {}, "skus" },
      { "a string", "000106", "skus" },
    } do
      it("is invalid for " .. case[1], function()
        local shown, err = cancellation(order, case[2])
        assert.is_nil(shown)
        assert.equal("invalid", err.kind)
        assert.equal(case[3], err.field)
        assert.truthy(err.message:find(case[3] .. ": expected", 1, true), err.message)
      end)
    end
  end)

  for _, case in ipairs{
    { "without line_items", {}, "line_items" },
    { "with an empty list of lines", { line_items = {} }, "line_items" },
    { "with null for lines", { line_items = core.null }, "line_items" },
    { "with a line that is no table", { line_items = { v1("Cancelled"), 7 } }, "line_items[2]" },
  } do
    it("is invalid for an order " .. case[1], function()
      local shown, err = cancellation(case[2])
      assert.is_nil(shown)
      assert.equal("invalid", err.kind)
      assert.equal("not_sent", err.outcome)
      assert.equal(case[3], err.field)
    end)
  end

  it("raises for an order that is no table, at the caller's line", function()
    local ok, why = pcall(function() cancellation(nil) end)
    assert.is_false(ok)
    assert.truthy(why:find("cancellation_spec.lua:%d+: expected a decoded order, found nothing"), why)
  end)

  it("reads the order raw and changes nothing in it", function()
    local touched = setmetatable({ line_items = { v1("Cancelled") } }, {
      __newindex = function() error("written to") end, __index = function() error("read") end })
    assert.equal("cancelled", cancellation(touched).state)
  end)
end)
