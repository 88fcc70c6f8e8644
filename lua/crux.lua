--- Cancels CRUXconnect orders: one call, never on the wire twice behind the caller's back, and never more claimed of it
-- than is known.
-- @module crux
local Client = require "crux.client"
local core = require "crux.core"
local single = require "crux.default_client"

local crux = {
  _VERSION = core._VERSION,
  --- The service's sandbox, the default.
  SANDBOX = core.SANDBOX,
  --- The service itself.
  PRODUCTION = core.PRODUCTION,
  --- JSON null, as it stands in a decoded body.
  null = core.null,
  --- Returns its arguments, or raises `tostring(err)`; see `crux.assert`.
  -- @function assert
  assert = require "crux.assert",
  --- Makes a client; see `crux.client`.
  -- @function new
  new = Client.new,
}

single(crux)

return crux
