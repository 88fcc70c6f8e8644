--- A server and a client for the specs of retries, token functions and events in spec/call. The
-- client's clock stands still and pauses between attempts take no time, unless a spec calls
-- `retrying.real_time`; how long the pauses would have been is kept in `retrying.pauses`.
--
--     before_each(retrying.open)
--     after_each(retrying.close)
--     retrying.answers(helper.response(429, "", { "Retry-After: 3" }), helper.response(204))
--     local result, err = retrying.cancel{ retries = 1 }
-- @module spec.support.retrying
local assert = require "luassert"
local Client = require "crux.client"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local retrying = {
  --- The real clock, and functions of crux.core.
  now = core.now, random = core.random, sleep = core.sleep,
}

-- When the clock was stopped, or nil.
local stopped

local function pause(seconds)
  if not stopped then return core.sleep(seconds) end
  local pauses = retrying.pauses
  pauses[#pauses + 1] = seconds
  if retrying.on_pause then retrying.on_pause(#pauses) end
end

local new = Client.constructor{
  direct = true, send = core.perform, sleep = pause,
  now = function() return stopped or core.now() end,
  await = function(what, seconds) what:wait(seconds) end,
}

--- Opens a server that answers with 204, and a client of it: `retrying.server`, `retrying.client`.
-- `retrying.on_pause`, if it is set, is called with the number of each pause.
function retrying.open()
  retrying.server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  retrying.client = assert(new{ token = helper.TOKEN, base_url = retrying.server.base_url, timeout = 20 })
  retrying.pauses, retrying.on_pause = {}, nil
  stopped = core.now()
  core.random = function() return 0.999 end
end

--- Lets the clock go on and pauses take their time.
function retrying.real_time() stopped = nil end

--- Closes both.
function retrying.close()
  retrying.real_time()
  core.random = retrying.random
  retrying.client:close()
  retrying.server:close()
end

--- The i-th request is answered with the i-th of these.
function retrying.answers(...) retrying.server:set{ answers = { ... } } end

local function call(name, more)
  local arguments = { order_uuid = helper.ORDER }
  for key, value in pairs(more or {}) do arguments[key] = value end
  return helper.call(retrying.client[name], retrying.client, arguments)
end

--- Calls of the client: result | nil, err.
function retrying.cancel(more) return call("cancel_order", more) end
function retrying.get(more) return call("get_order", more) end

--- The requests that the server has got since this was last asked, each as its bytes.
function retrying.requests() return helper.new_requests(retrying.server) end

--- Asserts that a pause has this length, but for rounding.
function retrying.near(expected, found)
  assert.is_true(math.abs(expected - found) < 0.002, ("expected %g, found %g"):format(expected, found))
end

return retrying
