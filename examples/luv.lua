-- Cancels orders inside a libuv loop (lua-luv), while a timer counts:
-- lua5.4 examples/luv.lua ORDER_UUID...
-- CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the service and the authority to trust.
local uv = require "luv"
local crux = require "crux"

if not arg[1] then
  io.stderr:write("usage: ", arg[0], " ORDER_UUID...\n")
  os.exit(3)
end

local client = crux.assert(crux.new())
local uuids, beats = {}, 0
local ready, due, beat = uv.new_poll(client:pollfd()), uv.new_timer(), uv.new_timer()

local function step()
  for pending in client.step, client do
    local _, result, err = pending:poll()
    print(uuids[pending], (result or err).outcome, err and err.message or "")
  end
  if client:in_flight() == 0 then
    for _, handle in ipairs{ ready, due, beat } do handle:close() end
    return
  end
  local seconds = client:timeout()
  if seconds then due:start(math.ceil(seconds * 1000), 0, step) end
end

for _, uuid in ipairs(arg) do
  local pending = crux.assert(client:submit("cancel_order", { order_uuid = uuid }))
  uuids[pending] = uuid
end

ready:start("r", step)
beat:start(10, 10, function() beats = beats + 1 end)
step()
uv.run()
print("beats", beats)
client:close()
