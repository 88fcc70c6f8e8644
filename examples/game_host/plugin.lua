-- A plugin of the game: `start(uuids)` is called once, `frame()` sixty times per second. It must
-- never delay a frame.
local crux = require "crux"

local client = crux.assert(crux.new())
local uuids = {}

function start(list)
  for uuid in list:gmatch("%S+") do
    local pending, err = client:submit("cancel_order", { order_uuid = uuid })
    if pending then uuids[pending] = uuid else print(uuid, tostring(err)) end
  end
end

-- Returns how many calls are in flight.
function frame()
  local pending = client:step()
  if pending then
    local _, result, err = pending:poll()
    print(uuids[pending], (result or err).outcome, err and err.message or "")
    uuids[pending] = nil
  end
  return client:in_flight()
end

function stop() client:close() end
