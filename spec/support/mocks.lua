--- What the specs of crux.mock share: a real call that has the same answer, and what both return
-- without what differs from run to run.
-- @module spec.support.mocks
local assert = require "luassert"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local mock = require "crux.mock"

local mocks = {}

--- Makes a mock that takes its answers for `get_order` and `cancel_order` from one list.
-- @tparam table answers
-- @tparam[opt] table options
-- @treturn crux.mock
function mocks.new(answers, options)
  local used = 0
  local function next_answer()
    used = used + 1
    return answers[used] or error("expected no further request", 0)
  end
  local known = { token = helper.TOKEN }
  for name, value in pairs(options or {}) do known[name] = value end
  known.answers = { get_order = next_answer, cancel_order = next_answer }
  return assert(mock.new(known))
end

--- Serves bytes: the i-th of them to the i-th connection, which is closed then.
-- @tparam table responses
-- @tparam[opt] table options of `fault.serve`
function mocks.serve(responses, options)
  options = options or {}
  options.script = options.script or "if conn:request() then conn:write(shared.responses[n]) end conn:fin()"
  options.shared = { responses = responses }
  return fault.serve(options)
end

--- A result or err without times, and without what depends on the TLS library.
function mocks.comparable(result, err)
  helper.check(result, err)
  local answer, kept = result or err, {}
  for name, value in pairs(answer) do kept[name] = value end
  kept.message = kept.message and kept.message:gsub("%d+ ms", "x ms"):gsub("^(no TLS connection to [^:]*:%d*): .*", "%1")
  kept.meta = {}
  for name, value in pairs(answer.meta) do
    if name ~= "time" then kept.meta[name] = value end
  end
  return { result and "result" or "err", kept, getmetatable(answer) and tostring(answer):match("^%S+ %S+") }
end

--- Calls in each way: functions of a client, an endpoint and arguments that return result | nil, err.
mocks.WAYS = {
  blocking = function(client, name, arguments) return client[name](client, arguments) end,
  wait = function(client, name, arguments)
    return select(2, assert(client:submit(name, arguments)):wait())
  end,
  poll = function(client, name, arguments)
    local pending = assert(client:submit(name, arguments))
    local done, result, err
    while not done do
      done, result, err = pending:poll()
      if not done then core.sleep(0.001) end -- valgrind runs one thread at a time
    end
    return result, err
  end,
  step = function(client, name, arguments)
    local pending = assert(client:submit(name, arguments))
    while client:step() ~= pending do core.sleep(0.001) end
    return select(2, pending:poll())
  end,
  batch = function(client, name, arguments)
    local result, err
    client:batch(name, { arguments }, { on_result = function(_, _, ...) result, err = ... end })
    return result, err
  end,
}

return mocks
