--- The calls of `crux` for OpenResty: each suspends the light thread that makes it, and nothing else. A thread of crux's
-- own carries them, one for each nginx worker process; what has ended wakes nginx's event loop (see `crux.resty.wakeup`).
--
--     local crux = require "crux.resty"
--     local result, err = crux.cancel_order{ order_uuid = …, skus = … }
-- @module crux.resty
local ngx = rawget(_G, "ngx")
if not ngx then error("crux.resty: expected to be loaded inside nginx by ngx_lua, found no ngx; use crux", 0) end

local Client = require "crux.client"
local core = require "crux.core"
local single = require "crux.default_client"
local waking = require "crux.resty.wakeup"

local error, min, format = error, math.min, string.format

local get_phase = ngx.get_phase

-- ngx_lua's, those that may yield.
local YIELDING = {
  rewrite = true, server_rewrite = true, access = true, content = true, timer = true, preread = true,
  ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true,
}

local ADVICE = {
  init = "nothing can wait before the workers run: call it from ngx.timer.at in init_worker_by_lua",
  init_worker = "call it from ngx.timer.at(0, …)",
  set = "call it in rewrite_by_lua or access_by_lua",
  balancer = "call it in rewrite_by_lua or access_by_lua",
  exit_worker = "nothing can wait any more",
}

local function admit()
  local phase = get_phase()
  if YIELDING[phase] then return end
  error(format("crux.resty: expected a phase that can wait, found '%s': %s", phase,
    ADVICE[phase] or "hand the call to ngx.timer.at(0, …)"), 0)
end

-- What was submitted (`client:submit`, `client:cancel_orders`) is looked after every so often.
local PERIOD = 0.005

local host = {
  admit = admit, send = waking.send, sleep = ngx.sleep,
  await = function(_, seconds) ngx.sleep(min(seconds, PERIOD)) end,
}

local resty = {
  _VERSION = core._VERSION,
  SANDBOX = core.SANDBOX,
  PRODUCTION = core.PRODUCTION,
  null = core.null,
  --- Returns its arguments, or raises `tostring(err)`; see `crux.assert`.
  -- @function assert
  assert = require "crux.assert",
  --- Makes a client; see `crux.client`. It may be made anywhere, in `init_by_lua` too.
  -- @function new
  new = Client.constructor(host),
}

single(resty, host)

return resty
