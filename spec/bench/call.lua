-- call.lua URL N [CA_FILE]: what bare.c does, through crux. With "none" as URL: makes the arguments
-- of N calls and no call.
local arguments = require "spec.bench.arguments"

local url, count, ca_file = arg[1], tonumber(arg[2]), arg[3]

if url == "none" then
  for i = 1, count do arguments(i) end
  return
end

local client = assert(require "crux".new{
  token = "47d4yfbwymedhiudj384702984nakju4hajh395d", base_url = url, ca_file = ca_file,
})

for i = 1, count do
  local result, err = client:cancel_order(arguments(i))
  if not result then error(tostring(err)) end
  assert(result.status == 200)
end
