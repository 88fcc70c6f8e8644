--- Orders that are read: from the service, and as text.
-- @module crux.cli.order
local cancellation = require "crux.cancellation"
local core = require "crux.core"
local exit = require "crux.cli.exit"
local session = require "crux.cli.session"
local unreadable = require "crux.unreadable"
local words = require "crux.cli.words"

local order = {}

-- JSON null counts as nothing.
local function known(value)
  if value == nil or value == core.null or type(value) == "table" then return nil end
  return value
end

--- What an order calls itself and its date, in either generation.
-- @treturn table `uuid`, `date`, `po`, each nil where not known
function order.head(found)
  return {
    uuid = known(found.order_uuid) or known(found.uuid), date = known(found.created_date),
    po = known(found.po_number) or known(found.purchase_order_id),
  }
end

--- Reads an order. A wrong option or UUID, or a signal, ends the command.
-- @treturn[1] table the decoded order
-- @treturn[2] nil
-- @treturn[2] crux.err
function order.read(opened, uuid, out)
  local result, err = opened:get_order(uuid, out)
  if result and type(result.body) == "table" then return result.body end
  if result then return nil, unreadable("get_order", "an order", result) end
  if err.kind == "invalid" then
    if err.field ~= "order_uuid" then session.usage(err) end
    exit.fail(exit.USAGE, (err.message:gsub("^order_uuid:", "ORDER_UUID:")))
  end
  return nil, err
end

--- Prints why an order could not be read.
function order.failed(err, uuid, out)
  out:json("error", {
    { "order_uuid", uuid }, { "outcome", err.outcome }, { "kind", err.kind },
    { "status", err.status }, { "message", words.message(err) }, { "hint", words.hint(err) },
  })
  if out.is_json then return end
  out:warn(("crux: %s: %s"):format(uuid, words.message(err)))
  local hint = words.hint(err)
  if hint then out:warn("  " .. hint) end
end

local WIDTHS = { 36, 16, 36, 10, 0 }

--- Prints an order and its lines.
function order.print(found, uuid, out)
  local head = order.head(found)
  out:row({ "order", head.uuid or uuid }, { 8, 0 })
  if head.po then out:row({ "PO", head.po }, { 8, 0 }) end
  if head.date then out:row({ "created", head.date }, { 8, 0 }) end
  local shown = cancellation(found)
  if shown then
    out:row({ "state", shown.state }, { 8, 0 })
    out:row({ "line", "SKU", "supplier", "state", "ordered" }, WIDTHS)
    for _, item in ipairs(shown.items) do
      out:row({ item.uuid, item.sku_id, item.supplier_uuid, item.state, item.ordered }, WIDTHS)
    end
  end
  out:text("")
end

return order
