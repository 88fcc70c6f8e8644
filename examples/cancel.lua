-- Cancels an order, or the items of some of its suppliers, and prints the outcome:
--
--   CRUX_TOKEN=... CRUX_BASE_URL=https://api.cruxconnect.com \
--     lua5.4 examples/cancel.lua ORDER_UUID [SUPPLIER_UUID...]
--
--   CRUX_TOKEN      a token from a login less than two hours ago
--   CRUX_BASE_URL   the service's sandbox by default
--   CRUX_CA_FILE    the only authority to trust, such as that of `make sandbox`
--   https_proxy     and no_proxy, as for curl
--
-- Exit status: 0 accepted; 1 rejected, or wrong arguments; 2 nothing was sent; 3 unknown. After an
-- unknown outcome it reads the order and prints which items are cancelled.

local crux = require "crux"

local function print_error(err)
  io.stderr:write("cancel: ", tostring(err), "\n")
  if err.hint then io.stderr:write("  hint: ", err.hint, "\n") end
  for path, messages in pairs(err.fields or {}) do
    io.stderr:write("  ", path == "" and "" or path .. ": ", table.concat(messages, "; "), "\n")
  end
end

local function usage()
  io.stderr:write("usage: ", arg[0], " ORDER_UUID [SUPPLIER_UUID...]\n",
    "  CRUX_TOKEN in the environment is the token, CRUX_BASE_URL the service ",
    "(its sandbox by default)\n")
  os.exit(1)
end

local function exit_code(err)
  if err.kind == "invalid" or err.outcome == "rejected" then return 1 end
  return err.outcome == "not_sent" and 2 or 3
end

-- Items that are "Cancelled" prove that the request arrived. Other items prove nothing: suppliers
-- may still confirm.
local function print_order(client, order_uuid)
  local result, err = client:get_order{ order_uuid = order_uuid }
  local order, cancelled = result and result.body, 0
  if type(order) ~= "table" or type(order.line_items) ~= "table" then
    io.stderr:write("cancel: could not read the order: ",
      tostring(err or "the response holds no order"), "\n")
    return
  end
  print("the order now:")
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

local client, err = crux.new()
local result
if client then result, err = client:cancel_order(arguments) end
if result then
  local text = "accepted (HTTP %d): the service asks the suppliers, who confirm or reject"
  print(text:format(result.status))
  os.exit(0)
end
print_error(err)
if err.outcome == "unknown" then print_order(client, arguments.order_uuid) end
if err.field == "order_uuid" or err.field and err.field:find("^skus") then usage() end
os.exit(exit_code(err))
