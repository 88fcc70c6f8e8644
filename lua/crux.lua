--- Cancels CRUXconnect orders: one call, never on the wire twice behind the caller's back, and never more claimed of it
-- than is known.
-- @module crux
local Client = require "crux.client"
local core = require "crux.core"
local environment = require "crux.environment"

local crux = {
  _VERSION = core._VERSION,
  --- The service's sandbox, the default.
  SANDBOX = core.SANDBOX,
  --- The service itself.
  PRODUCTION = core.PRODUCTION,
  --- JSON null, as it stands in a decoded body.
  null = core.null,
  --- Makes a client; see `crux.client`.
  -- @function new
  new = Client.new,
}

-- The single calls share a client, and so its connections, until the environment changes.
local shared, shared_said = nil, {}

local function shared_client(arguments)
  local said, no_proxy = environment.options()
  local same = shared and shared_said.no_proxy == no_proxy
  for name in next, environment.names do
    -- what the call itself says wins, and is not to fail for what it overrides
    if rawget(arguments, name) ~= nil then said[name] = nil end
    same = same and shared_said[name] == said[name]
  end
  if same then return shared end
  local client, err = Client.make({}, said, no_proxy)
  if not client then return nil, err end
  shared, shared_said = client, said
  said.no_proxy = no_proxy
  return client
end

for _, name in ipairs(core.endpoints) do
  crux[name] = function(arguments)
    if type(arguments) ~= "table" then
      error(("expected a table of arguments, found %s"):format(arguments == nil and "nothing" or type(arguments)), 2)
    end
    local client, err = shared_client(arguments)
    if not client then return nil, err end
    return client:call(name, arguments)
  end
end

return crux
