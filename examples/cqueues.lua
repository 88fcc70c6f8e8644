-- Cancels orders inside a cqueues loop, while another coroutine counts:
-- lua5.4 examples/cqueues.lua ORDER_UUID...
-- CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the service and the authority to trust.
local cqueues = require "cqueues"
local crux = require "crux"

if not arg[1] then
  io.stderr:write("usage: ", arg[0], " ORDER_UUID...\n")
  os.exit(3)
end

local client = crux.assert(crux.new())
local loop, uuids = cqueues.new(), {}

for _, uuid in ipairs(arg) do
  local pending = crux.assert(client:submit("cancel_order", { order_uuid = uuid }))
  uuids[pending] = uuid
end

loop:wrap(function()
  while client:in_flight() > 0 do
    cqueues.poll(client) -- cqueues calls pollfd, events and timeout of the client
    for pending in client.step, client do
      local _, result, err = pending:poll()
      print(uuids[pending], (result or err).outcome, err and err.message or "")
    end
  end
end)

local beats = 0
loop:wrap(function()
  while client:in_flight() > 0 do
    cqueues.sleep(0.01)
    beats = beats + 1
  end
end)

assert(loop:loop())
print("beats", beats)
client:close()
