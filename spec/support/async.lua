--- Servers, clients and pending calls for the specs in spec/async: what was opened is closed by
-- `close_all`.
--
--     local async = require "spec.support.async"
--     after_each(async.close_all)
--     local client = async.connect(async.serve(async.OK))
--     local result, err = async.is_done(client:submit("cancel_order", async.ORDER))
-- @module spec.support.async
local assert = require "luassert"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local async = {
  --- Arguments of a call.
  ORDER = { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } },
  --- A script that answers every request with 204.
  OK = "while conn:request() do conn:write('HTTP/1.1 204 No Content\\r\\n\\r\\n') end",
  --- A script that reads a request and never answers.
  HOLD = "conn:request() conn:hold()",
  --- A script that answers the i-th request of the listener with `shared.answers[i]`.
  ANSWERS = [[
while conn:request() do
  shared.count = (shared.count or 0) + 1
  conn:write(shared.answers[shared.count])
end]],
}

local servers, clients = {}, {}

local function keep(server)
  servers[#servers + 1] = server
  return server
end

--- Closes every client and listener that was opened here.
function async.close_all()
  for _, client in ipairs(clients) do client:close() end
  for _, server in ipairs(servers) do server:close() end
  servers, clients = {}, {}
end

--- Drops the references to all clients, so that they can be collected.
function async.forget_clients() clients = {} end

--- A listener without TLS that runs this script.
function async.serve(script, shared) return keep(fault.serve{ script = script, shared = shared }) end

--- A port that refuses connections.
function async.refused() return keep(fault.refused()) end

--- A listener that never accepts.
function async.silent() return keep(fault.silent()) end

--- A client of a server's, with further options.
function async.connect(server, more)
  local options = { token = helper.TOKEN, base_url = server.base_url, timeout = 10 }
  for name, value in pairs(more or {}) do options[name] = value end
  local client = assert(crux.new(options))
  clients[#clients + 1] = client
  return client
end

--- Waits until a condition holds, and returns its value; raises after 10 seconds.
function async.until_true(condition, seconds)
  local deadline = core.now() + (seconds or 10)
  repeat
    local value = condition()
    if value then return value end
    core.sleep(0.002)
  until core.now() > deadline
  error("expected the condition to hold in time", 2)
end

--- Asserts that the call is done, and that poll and wait return the same values each time. Returns
-- its result and err.
function async.is_done(pending)
  local first = { pending:poll() }
  assert.is_true(first[1])
  helper.check(first[2], first[3])
  for _ = 1, 3 do
    local done, result, err = pending:poll()
    assert.is_true(done)
    assert.equal(first[2], result)
    assert.equal(first[3], err)
    done, result, err = pending:wait(0)
    assert.is_true(done)
    assert.equal(first[2], result)
    assert.equal(first[3], err)
  end
  return first[2], first[3]
end

--- Calls `client:step()` until nothing is in flight, as an event loop would: when the descriptor is
-- readable or the timeout is over.
-- @treturn table the pending calls that step returned, in order
function async.drain(client, seconds)
  local list, deadline = {}, core.now() + (seconds or 10)
  while true do
    local pending = client:step()
    if pending then list[#list + 1] = pending
    elseif client:in_flight() == 0 then return list
    else
      assert.is_true(core.now() < deadline, "expected all calls to be done in time")
      forks.readable(client:pollfd(), math.min(client:timeout() or 1, 1))
    end
  end
end

return async
