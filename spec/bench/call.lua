-- call.lua URL N MODE: what bare.c does, through crux. MODE: "client" (the whole library) or "core" (one attempt in C).
local url, count, mode = arg[1], tonumber(arg[2]), arg[3]

local args = {
  order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
  skus = { { supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f", sku_id = "000106", quantity = 2 } },
}
local token = "47d4yfbwymedhiudj384702984nakju4hajh395d"

local call
if mode == "client" then
  local client = assert(require "crux".new{ token = token, base_url = url })
  call = function() return client:cancel_order(args) end
elseif mode == "core" then
  local core = require "crux.core"
  args.token, args.base_url = token, url
  call = function() return core.cancel_order(args) end
else
  error("expected mode client or core, found " .. tostring(mode))
end

for _ = 1, count do
  local result, err = call()
  if not result then error(tostring(err)) end
  assert(result.status == 204)
end
