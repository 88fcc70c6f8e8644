--- What a decoded order says about its cancellation. Pure: it calls nothing and sends nothing.
-- @module crux.cancellation
local core = require "crux.core"

local error, next, rawget, type = error, next, rawget, type
local find, format, lower = string.find, string.format, string.lower

local function invalid(field, message)
  local err = core.failure("invalid", format("%s: %s", field, message))
  err.field = field
  return err
end

-- A field's value; JSON null counts as none.
local function value_of(object, name)
  local value = rawget(object, name)
  if value == core.null then return nil end
  return value
end

local function table_of(object, name)
  local value = value_of(object, name)
  return type(value) == "table" and value or nil
end

-- Whether a line's status or designation is this word. It is sent alone or, as seen in timp, behind
-- a number: "ID: 1 Name: HasTracking".
local function is_word(text, word)
  if type(text) ~= "string" then return false end
  return text == word or find(text, "Name: " .. word .. "$") ~= nil
end

local function has_word(line, word)
  return is_word(value_of(line, "status"), word)
    or is_word(value_of(line, "line_item_designation"), word)
end

-- v1 has `tracking_numbers`, timp has `tracking`: a list, an object or a text.
local function is_tracked(line)
  for _, name in next, { "tracking_numbers", "tracking" } do
    local tracking = value_of(line, name)
    if type(tracking) == "table" and next(tracking) ~= nil then return true end
    if type(tracking) == "string" and tracking ~= "" then return true end
  end
  return false
end

-- An unknown word leaves a line open: it is not cancelled, and still may be.
local function state_of(line)
  if has_word(line, "Cancelled") then return "cancelled" end
  if is_tracked(line) or has_word(line, "HasTracking") or has_word(line, "Rejected") then
    return "closed"
  end
  return "open"
end

local function supplier_of(line)
  local supplier = table_of(line, "supplier")
  return value_of(line, "supplier_uuid") or supplier and value_of(supplier, "uuid")
end

local function item_of(line)
  local allocation = table_of(line, "allocation")
  return {
    uuid = value_of(line, "uuid") or value_of(line, "line_item_uuid"),
    sku_id = value_of(line, "sku_id"),
    supplier_uuid = supplier_of(line),
    state = state_of(line),
    ordered = allocation and value_of(allocation, "quantity_ordered"),
    rejected = allocation and value_of(allocation, "quantity_rejected"),
    line = line,
  }
end

-- Hexadecimal digits of either case are the same UUID.
local function same_uuid(a, b)
  return type(a) == "string" and type(b) == "string" and lower(a) == lower(b)
end

local function names_item(sku, item)
  local sku_id = value_of(sku, "sku_id")
  return same_uuid(value_of(sku, "supplier_uuid"), item.supplier_uuid)
    and (sku_id == nil or sku_id == item.sku_id)
end

-- Those of `items` that `skus` names, in the order of the lines; or nil and an error.
local function named(items, skus)
  if type(skus) ~= "table" then
    return nil, invalid("skus", format("expected a list of SKUs, found a %s", type(skus)))
  end
  if #skus == 0 then return nil, invalid("skus", "expected a list of at least one SKU") end
  local wanted = {}
  for position = 1, #skus do
    local sku, found = rawget(skus, position), false
    if type(sku) ~= "table" then
      return nil, invalid(format("skus[%d]", position), "expected a table, found a " .. type(sku))
    end
    for index = 1, #items do
      if names_item(sku, items[index]) then wanted[index], found = true, true end
    end
    if not found then
      return nil, invalid(format("skus[%d]", position), "expected a SKU of the order, found none")
    end
  end
  local list = {}
  for index = 1, #items do
    if wanted[index] then list[#list + 1] = items[index] end
  end
  return list
end

local function state_of_all(items)
  local seen = {}
  for index = 1, #items do seen[items[index].state] = true end
  if seen.open then return "open" end
  if seen.cancelled then return seen.closed and "partial" or "cancelled" end
  return "closed"
end

--- The state of an order's cancellation.
--
-- An item is `cancelled` if its line says so; `closed` if it has tracking or was rejected, so that
-- it will not be cancelled any more; else `open`: not cancelled, and still may be. The service has
-- no state "cancellation requested", and a supplier's refusal leaves no trace: `open` never means
-- that the request was not received.
--
-- All together are `cancelled` if every item is, `open` if any is, `partial` if some are cancelled
-- and the others closed, else `closed`.
-- @function crux.cancellation
-- @tparam table order a decoded order of either generation, such as the `body` of `get_order`
-- @tparam[opt] table skus looks at the lines these name alone: a list of tables with
--   `supplier_uuid` and perhaps `sku_id`, as in `cancel_order`
-- @treturn[1] table cancellation `state`, and `items`: a list of `{ uuid, sku_id, supplier_uuid,
--   state, ordered, rejected, line }`; counts are nil where the service gives none, and `line` is
--   the order's own line
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: an order without lines, or a SKU that is in no line
-- @usage local shown = crux.cancellation(client:get_order{ order_uuid = uuid }.body)
-- @see crux.client.wait_cancelled
return function(order, skus)
  if type(order) ~= "table" then
    local found = order == nil and "nothing" or type(order)
    error(format("expected a decoded order, found %s", found), 2)
  end
  local lines, items = table_of(order, "line_items"), {}
  for index = 1, lines and #lines or 0 do
    local line = rawget(lines, index)
    if type(line) ~= "table" then
      local field = format("line_items[%d]", index)
      return nil, invalid(field, "expected a table, found a " .. type(line))
    end
    items[index] = item_of(line)
  end
  if #items == 0 then
    return nil, invalid("line_items", "expected an order with lines, found none")
  end
  if skus ~= nil and skus ~= core.null then
    local err
    items, err = named(items, skus)
    if not items then return nil, err end
  end
  return { state = state_of_all(items), items = items }
end
