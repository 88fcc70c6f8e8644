--- `headers` functions: a `headers` option that is a function is called before every attempt, and
-- returns the further request headers of that attempt. A client and a call may each have one. Of
-- the same name, that of the call counts.
-- @module crux.request_headers
local callback = require "crux.callback"
local core = require "crux.core"
local token = require "crux.token"

local pcall, type = pcall, type

local request_headers = {}

-- What a function that there is not has returned.
local NONE = {}

--- Returns the function of a client.
-- @param option its option `headers`
-- @treturn ?table functions nil if there is none
function request_headers.of_client(option)
  return type(option) == "function" and { of_client = option } or nil
end

--- Returns the functions of a call.
-- @tparam ?table functions the client's
-- @param option the call's own option `headers`
-- @treturn ?table functions nil if there is none
function request_headers.of_call(functions, option)
  if type(option) ~= "function" then return functions end
  return { of_client = functions and functions.of_client, of_call = option }
end

-- An error about the function.
local function failure(what)
  local err = core.failure("invalid", "headers: " .. what)
  err.field = "headers"
  return err
end

-- Calls a function. Returns what it returned; or nil and an err, which says nothing of what was
-- raised if the call has been aborted meanwhile.
local function ask(call, ask_for)
  local ok, found = pcall(ask_for, {
    endpoint = call.endpoint, order_uuid = call.order_uuid, order_item_uuid = call.order_item_uuid,
    attempt = call.attempts + 1,
  })
  if ok then return found end
  callback.pass_interrupt(found)
  local raised = call.request:clean(token.raised(call, found)) or ""
  return nil, failure("the headers function raised an error" .. raised)
end

--- Calls the functions, and gives the request its headers for the next attempt. The functions may
-- take long, and may abort the call.
-- @tparam table call which has `headers`, its functions
-- @tparam ?string given the token of the attempt, if a function returned it
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] ?table err of kind `invalid`; `timeout` if the deadline has passed meanwhile; nil if
--   the call is done
-- @raise the interpreter's Ctrl-C
function request_headers.for_attempt(call, given)
  local functions = call.headers
  local of_client, of_call, err = NONE, NONE, nil
  if functions.of_client then of_client, err = ask(call, functions.of_client) end
  if functions.of_call and not err and not call.done then
    of_call, err = ask(call, functions.of_call)
  end
  if call.done or err then return nil, err end
  if call.now() >= call.deadline then
    return nil, core.failure("timeout", "the deadline passed before the request was sent")
  end
  local ok
  ok, err = call.request:set_headers(of_client, of_call, given)
  if ok then return true end
  if err.kind == "invalid" then err.message = err.message .. ", from the headers function" end
  return nil, err
end

return request_headers
