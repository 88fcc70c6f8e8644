-- Cancels an order, or the items of some of its suppliers, and waits until the suppliers have
-- confirmed:
--
--   lua5.4 examples/wait.lua ORDER_UUID [SECONDS [SUPPLIER_UUID...]]
--
-- CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the service and the authority to trust;
-- CRUX_API=timp the later API. SECONDS is how long to wait, an hour if left out.
-- Exit status: 0 everything is cancelled; 1 the request failed, or arguments are wrong; 2 it is
-- not, or not yet, or not known.
local crux = require "crux"

local order_uuid, timeout = arg[1], tonumber(arg[2] or 3600)
if not order_uuid or not timeout then
  io.stderr:write("usage: ", arg[0], " ORDER_UUID [SECONDS [SUPPLIER_UUID...]]\n")
  os.exit(1)
end
local skus
for i = 3, #arg do
  skus = skus or {}
  skus[i - 2] = { supplier_uuid = arg[i] }
end

local api = os.getenv("CRUX_API")
local client = crux.assert(crux.new{ api = api ~= "" and api or nil })
local result, err = client:cancel_order{ order_uuid = order_uuid, skus = skus }
-- After an unknown outcome the request may have been carried out: the order shows it, sooner or
-- later.
if not result and err.outcome ~= "unknown" then
  io.stderr:write("wait: ", tostring(err), "\n")
  os.exit(1)
end

local interval = math.min(30, timeout / 10)
local shown, why = client:wait_cancelled{
  order_uuid = order_uuid, skus = skus, timeout = timeout, interval = interval,
}
shown = shown or why.cancellation
for _, item in ipairs(shown and shown.items or {}) do
  print(("%-16s %s"):format(tostring(item.sku_id), item.state))
end
if why then io.stderr:write("wait: ", tostring(why), "\n") end
print(shown and shown.state or "not known")
os.exit(shown and shown.state == "cancelled" and 0 or 2)
