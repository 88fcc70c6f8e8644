-- Asks for the cancellation of an order, or of what some suppliers have of it, and says what came of that:
--
--   CRUX_TOKEN=… CRUX_BASE_URL=https://api.cruxconnect.com lua5.4 examples/cancel.lua ORDER_UUID [SUPPLIER_UUID…]
--
--   CRUX_TOKEN      from a login less than two hours ago
--   CRUX_BASE_URL   the service's sandbox, if left out
--   CRUX_CA_FILE    trust this authority alone, such as that of `make sandbox`
--   https_proxy     and no_proxy, as curl reads them
--
-- Exits with 0 if the service accepted it, 1 if it was rejected or the arguments are wrong, 2 if nothing was sent, and
-- 3 if what came of it is unknown: then it looks at the order and says what it finds.

local crux = require "crux"

local function complain(err)
  io.stderr:write("cancel: ", tostring(err), "\n")
  if err.hint then io.stderr:write("  hint: ", err.hint, "\n") end
  for place, complaints in pairs(err.fields or {}) do
    io.stderr:write("  ", place == "" and "" or place .. ": ", table.concat(complaints, "; "), "\n")
  end
end

local function usage()
  io.stderr:write("usage: ", arg[0], " ORDER_UUID [SUPPLIER_UUID...]\n",
    "  with CRUX_TOKEN in the environment, and CRUX_BASE_URL if it is not the service's sandbox\n")
  os.exit(1)
end

local function exit_code(err)
  if err.kind == "invalid" or err.outcome == "rejected" then return 1 end
  return err.outcome == "not_sent" and 2 or 3
end

-- Whether a cancellation arrived shows in the order, though not at once: its suppliers may still have to confirm it.
local function look(client, order_uuid)
  local result, err = client:get_order{ order_uuid = order_uuid }
  local order, cancelled = result and result.body, 0
  if type(order) ~= "table" or type(order.line_items) ~= "table" then
    io.stderr:write("cancel: could not look at the order: ", tostring(err or "no order in the answer"), "\n")
    return
  end
  print("the order as it stands:")
  for _, item in ipairs(order.line_items) do
    print(("  %-16s %s"):format(tostring(item.sku_id), tostring(item.status)))
    if item.status == "Cancelled" then cancelled = cancelled + 1 end
  end
  print(("%d of %d line items are cancelled"):format(cancelled, #order.line_items))
end

if not arg[1] or arg[1]:find("^%-") then usage() end

local arguments = { order_uuid = arg[1] }
for i = 2, #arg do
  arguments.skus = arguments.skus or {}
  arguments.skus[i - 1] = { supplier_uuid = arg[i] }
end

local ca_file = os.getenv("CRUX_CA_FILE")
local client, err = crux.new{ ca_file = ca_file ~= "" and ca_file or nil }
local result
if client then result, err = client:cancel_order(arguments) end
if result then
  print(("accepted (HTTP %d): the request is on its way to the suppliers, who confirm or reject it"):format(result.status))
  os.exit(0)
end
complain(err)
if err.outcome == "unknown" then look(client, arguments.order_uuid) end
if err.field == "order_uuid" or err.field and err.field:find("^skus") then usage() end
os.exit(exit_code(err))
