--- The functions of `crux` for OpenResty: each call suspends the light thread that makes it, and
-- nothing else. A thread of crux's own carries the calls, one for each nginx worker process; it
-- wakes nginx's event loop when an attempt has ended (see `crux.resty.wakeup`).
-- @module crux.resty
-- @usage local crux = require "crux.resty"
-- local result, err = crux.cancel_order{ order_uuid = uuid }
-- @see crux
local ngx = rawget(_G, "ngx")
if not ngx then
  error("crux.resty: expected to be loaded inside nginx by ngx_lua, found no ngx; use crux", 0)
end

local Client = require "crux.client"
local core = require "crux.core"
local add_calls = require "crux.default_client"
local wakeup = require "crux.resty.wakeup"

local error, min, format = error, math.min, string.format
local get_phase, sleep = ngx.get_phase, ngx.sleep
local timer_at, worker = ngx.timer.at, ngx.worker

-- The phases of ngx_lua in which a light thread can wait.
local YIELDING = {
  rewrite = true, server_rewrite = true, access = true, content = true, timer = true,
  preread = true, ssl_cert = true, ssl_session_fetch = true, ssl_client_hello = true,
}

local ADVICE = {
  init = "nothing can wait before the workers run: "
    .. "call it from ngx.timer.at in init_worker_by_lua",
  init_worker = "call it from ngx.timer.at(0, …)",
  set = "call it in rewrite_by_lua or access_by_lua",
  balancer = "call it in rewrite_by_lua or access_by_lua",
  exit_worker = "nothing can wait any more",
}

-- Raises where a light thread cannot wait. `level`: the user's, as the caller would give it to
-- `error`.
local function admit(level)
  local phase = get_phase()
  if YIELDING[phase] then return end
  error(format("crux.resty: expected a phase that can wait, found '%s': %s", phase,
    ADVICE[phase] or "hand the call to ngx.timer.at(0, …)"), level + 1)
end

-- How often `wait` and `cancel_orders` look at submitted calls, in seconds.
local PERIOD = 0.005

-- Carries a login to its end, though no call may wait for it any more: other workers wait for its
-- token, and for the lock that it has in their cache.
local function carry(is_premature, login)
  while not is_premature and not login.done and not worker.exiting() do login:wait(1) end
end

local driver = {
  go_on = function(login) timer_at(0, carry, login) end,
  concurrent = true, admit = admit, now = core.now, send = wakeup.send, sleep = sleep,
  await = function(_, seconds) sleep(min(seconds, PERIOD)) end,
}

local resty = {
  _VERSION = core._VERSION,
  SANDBOX = core.SANDBOX,
  PRODUCTION = core.PRODUCTION,
  null = core.null,
  --- Returns its arguments, or raises `tostring(err)`; see `crux.assert`.
  -- @function assert
  assert = require "crux.assert",
  --- Returns what a decoded order says about its cancellation; see `crux.cancellation`.
  -- @function cancellation
  cancellation = require "crux.cancellation",
  --- Makes a client. It may be made in any phase, `init_by_lua` included.
  -- @function new
  -- @tparam[opt] table options
  -- @treturn[1] crux.client
  -- @treturn[2] nil
  -- @treturn[2] table err of kind `invalid`
  -- @see crux.client.new
  new = Client.constructor(driver),
}

add_calls(resty, driver)

return resty
