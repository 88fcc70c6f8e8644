--- A Lua client for the CRUXconnect order API. It never sends a request twice on its own, and tells
-- exactly what is known about the result.
--
-- For each endpoint there is a function that makes one call and waits for its end:
-- `crux.cancel_order(arguments)`, `crux.get_order(arguments)`. They return what `client:call` does.
-- @module crux
-- @usage local crux = require "crux"
-- local result, err = crux.cancel_order{ token = token, order_uuid = uuid }
-- if result then print(result.outcome, result.status) else print(err.outcome, err.kind, err) end
-- @see crux.client
local Client = require "crux.client"
local core = require "crux.core"
local add_calls = require "crux.default_client"

local crux = {
  --- The version of crux.
  _VERSION = core._VERSION,
  --- The base URL of the service's sandbox: the default of the option `base_url`.
  SANDBOX = core.SANDBOX,
  --- The base URL of the service itself.
  PRODUCTION = core.PRODUCTION,
  --- JSON null, as it occurs in a decoded body.
  null = core.null,
  --- Returns its arguments, or raises `tostring(err)`.
  -- @function assert
  -- @see crux.assert
  assert = require "crux.assert",
  --- Returns what a decoded order says about its cancellation.
  -- @function cancellation
  -- @see crux.cancellation
  cancellation = require "crux.cancellation",
  --- Makes a client.
  -- @function new
  -- @tparam[opt] table options
  -- @treturn[1] crux.client
  -- @treturn[2] nil
  -- @treturn[2] table err of kind `invalid`
  -- @see crux.client.new
  new = Client.new,
}

add_calls(crux)

return crux
