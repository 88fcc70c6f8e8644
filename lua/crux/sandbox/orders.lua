--- Orders in memory: what they look like, and what cancelling does to them. An order's line items
-- are made when it is first looked at, so that a hundred thousand orders are cheap.
-- @module crux.sandbox.orders

local rand = require "openssl.rand"
local json = require "crux.sandbox.json"

local orders = {}

--- Who takes part. The first supplier and `DOCUMENTED_ORDER` are those of the service's
-- documentation.
orders.RETAILER = { name = "Sandbox Retailer", uuid = "0d5ba4ac-93a0-4f7c-8a0c-3ed1a5a6b0f1" }
orders.SUPPLIER = { name = "Sandbox Supplier", uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f" }
orders.OTHER_SUPPLIER = { name = "Other Supplier", uuid = "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e" }
orders.DOCUMENTED_ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"

local NAMES = {
  [orders.SUPPLIER.uuid] = orders.SUPPLIER.name,
  [orders.OTHER_SUPPLIER.uuid] = orders.OTHER_SUPPLIER.name,
}

local ADDRESS = {
  name = "Ada Example", business_name = "", address1 = "1 Example Way", address2 = "",
  city = "Provo", state = "UT",
  postal_code = "84601", phone_number = json.null, country = "US",
}

--- A random UUID (version 4).
function orders.uuid()
  local a, b, c, d = string.unpack(">I4I4I4I4", rand.bytes(16))
  return ("%08x-%04x-4%03x-%04x-%04x%08x"):format(
    a, b >> 16, b & 0xfff, c >> 16 & 0x3fff | 0x8000, c & 0xffff, d)
end

local function line(sku_id, supplier_uuid, quantity, cost)
  return {
    uuid = orders.uuid(), item_uuid = orders.uuid(), sku_uuid = orders.uuid(), sku_id = sku_id,
    supplier_uuid = supplier_uuid, cost = cost, status = "Unallocated",
    ordered = quantity, allocated = 0, rejected = 0,
  }
end

local Store = {}
Store.__index = Store

--- An empty store.
function orders.new() return setmetatable({ by_uuid = {}, sequence = {} }, Store) end

--- Add an order.
-- @tparam[opt] table given `uuid`, `shipped`, and the fields of a request to create one; without
--   `skus` it has two lines, 2 of `"000106"` from `SUPPLIER` and 1 of `"000107"` from
--   `OTHER_SUPPLIER`
-- @treturn table the order
function Store:add(given)
  local order = {
    uuid = orders.uuid(), given = given, created = os.time(), number = #self.sequence + 1,
  }
  if given and given.uuid then order.uuid = given.uuid end
  self.sequence[order.number] = order
  self.by_uuid[order.uuid] = order
  return order
end

--- The order of that UUID (either case), its line items made; or nil.
function Store:get(uuid)
  local order = self.by_uuid[uuid] or self.by_uuid[uuid:lower()]
  if not order or order.lines then return order end
  local given = order.given or {}
  order.lines = {}
  for i, sku in ipairs(given.skus or {}) do
    local price = type(sku.price) == "number" and ("%.2f"):format(sku.price) or sku.price
    local quantity = math.tointeger(tonumber(sku.quantity))
    order.lines[i] = line(tostring(sku.sku_id), sku.supplier_uuid:lower(), quantity, price)
  end
  if not given.skus then
    order.lines[1] = line("000106", orders.SUPPLIER.uuid, 2, "19.99")
    order.lines[2] = line("000107", orders.OTHER_SUPPLIER.uuid, 1, "5.00")
  end
  if given.shipped then
    for _, item in ipairs(order.lines) do
      item.status, item.allocated, item.tracking = "HasTracking", item.ordered, "1Z999AA10123456784"
    end
  end
  return order
end

local PENDING = { Unallocated = true, Allocated = true, Backordered = true }

-- which line items a request names, with how many of each; nil and why if one cannot be found
local function named(order, skus)
  local amounts = {}
  if not skus then
    for _, item in ipairs(order.lines) do
      if PENDING[item.status] then amounts[item] = item.ordered - item.rejected end
    end
    return amounts
  end
  for i, sku in ipairs(skus) do
    local found = false
    for _, item in ipairs(order.lines) do
      local wanted = not sku.sku_id or tostring(sku.sku_id) == item.sku_id
      if wanted and item.supplier_uuid == sku.supplier_uuid:lower() then
        found = true
        if not PENDING[item.status] then return nil, "pending" end
        local amount = math.tointeger(tonumber(sku.quantity)) or item.ordered - item.rejected
        if amount > item.ordered - item.rejected then return nil, "quantity", i end
        amounts[item] = amount
      end
    end
    if not found then return nil, "sku", i end
  end
  return amounts
end

--- Cancel an order's pending line items, or those of `skus`. A line of which fewer than ordered are
-- cancelled stays as it is but for its `quantity_rejected`.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string `"pending"` (nothing to cancel any more), `"sku"` (no such line), `"quantity"`
--   (more than ordered)
-- @treturn[2] ?int which of the skus
function orders.cancel(order, skus)
  local amounts, why, index = named(order, skus)
  if not amounts then return nil, why, index end
  if next(amounts) == nil then return nil, "pending" end
  for item, amount in pairs(amounts) do
    item.rejected = item.rejected + amount
    if item.rejected == item.ordered then item.status, item.allocated = "Cancelled", 0 end
  end
  return true
end

local function allocation(item)
  return {
    quantity_ordered = item.ordered, quantity_allocated = item.allocated, quantity_backordered = 0,
    quantity_rejected = item.rejected, backorder_date = json.null,
  }
end

local function show_line(item, api)
  local shown = {
    status = item.status, item_uuid = item.item_uuid, item_name = "Item " .. item.sku_id,
    sku_uuid = item.sku_uuid,
    sku_id = item.sku_id, sku_name = "Item " .. item.sku_id, sku_title_variants = "",
    sku_special_instructions = json.null, cost = item.cost,
    tracking_numbers = json.list{ item.tracking },
    allocation = allocation(item),
  }
  local supplier_name = NAMES[item.supplier_uuid] or "Supplier"
  if api == "timp" then
    shown.line_item_uuid = item.uuid
    shown.supplier = { uuid = item.supplier_uuid, organization_name = supplier_name }
    if item.status == "Unallocated" then shown.allocation = json.null end
  else
    shown.uuid = item.uuid
    shown.supplier_uuid, shown.supplier_name = item.supplier_uuid, supplier_name
  end
  return shown
end

--- An order as the API shows it.
-- @tparam table order
-- @tparam string api `"v1"` or `"timp"`
function orders.show(order, api)
  local given = order.given or {}
  local lines, allocated = json.list(), true
  for i, item in ipairs(order.lines) do
    lines[i] = show_line(item, api)
    allocated = allocated and item.allocated == item.ordered
  end
  return {
    uuid = order.uuid, is_allocated = allocated,
    purchase_order_id = given.purchase_order_id or ("PO-%06d"):format(order.number),
    created_date = os.date("!%Y-%m-%dT%H:%M:%S", order.created) .. ".000000Z",
    notes = given.notes or "",
    fees = { estimated_shipping_cost = "7.50", drop_ship_fee = "1.00", order_fee = "0.50" },
    retailer = {
      name = orders.RETAILER.name, uuid = orders.RETAILER.uuid,
      user = { name = "Sandbox Retailer", email = "retailer@example.org" },
    },
    address = given.address or ADDRESS,
    requested_shipping = {
      shipping_carrier = given.shipping_carrier or "UPS",
      shipping_method = given.shipping_method or "Ground",
    },
    line_items = lines,
  }
end

return orders
