-- Confirms or rejects, as a supplier, the cancellation of orders:
-- lua5.4 examples/supplier.lua confirm|reject ORDER_UUID...
-- CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the service and the authority to trust.
-- Only the later API, timp, has these calls.
-- Exit status: 0 all accepted, 1 some were not, 2 some are unknown, 3 wrong arguments or options.
local crux = require "crux"

local CALLS = { confirm = "confirm_order_cancellation", reject = "reject_order_cancellation" }

local name = CALLS[arg[1]]
if not name or not arg[2] then
  io.stderr:write("usage: ", arg[0], " confirm|reject ORDER_UUID...\n")
  os.exit(3)
end

local client, why = crux.new{ api = "timp" }
if not client then
  io.stderr:write(tostring(why), "\n")
  os.exit(3)
end

local status = 0
for i = 2, #arg do
  local result, err = client:call(name, { order_uuid = arg[i] })
  print(arg[i], result and "accepted" or tostring(err))
  if err and err.hint then print("", err.hint) end
  if err then status = math.max(status, err.outcome == "unknown" and 2 or 1) end
end
os.exit(status)
