--- Token functions: a `token` option that is a function is called before every attempt, and once
-- more after a 401. What the function raises or returns may hold a token, so no message repeats it.
-- @module crux.token
local callback = require "crux.callback"
local core = require "crux.core"

local match, next, pcall, type = string.match, next, pcall, type

local token = {}

--- Removes from a text every token that the function has returned during this call.
-- @tparam table call
-- @tparam string text
-- @treturn string
function token.redact(call, text)
  if not call.given then return text end
  for given in next, call.given do text = core.redact(text, given) end
  return text
end

--- Removes these tokens from an error's message: from the server's words in it, since a short token
-- may be part of our own.
-- @tparam table call
-- @tparam string message
-- @treturn string
function token.public(call, message)
  local status, words = match(message, "^(HTTP [^:]*: )(.*)")
  return status and status .. token.redact(call, words) or message
end

-- Why what the function returned is not a token.
local function complaint(call, found, reason)
  if found == nil then
    if type(reason) ~= "string" then return "the token function returned none" end
    return "the token function returned none: " .. token.redact(call, reason)
  end
  local why = "the token function returned an unusable token, a " .. type(found)
  local _, ends_in_newline = core.is_token(found)
  return ends_in_newline and why .. " that ends in a newline" or why
end

--- Calls the token function.
-- @tparam table call
-- @tparam[opt] boolean again true after a 401: the function's argument
-- @treturn[1] string token
-- @treturn[2] nil
-- @treturn[2] table err of kind `auth`
-- @raise the interpreter's Ctrl-C
function token.ask(call, again)
  local ok, found, reason = pcall(call.token, again)
  if not ok then callback.pass_interrupt(found) end
  if ok and core.is_token(found) then
    call.given[found] = true
    return found
  end
  local why = ok and complaint(call, found, reason) or "the token function raised an error"
  return nil, core.failure("auth", why)
end

--- Returns the token for the next attempt: the one that `refresh` got, otherwise a new one.
-- The token function may take long, and may abort the call.
-- @tparam table call
-- @treturn[1] string token
-- @treturn[2] nil
-- @treturn[2] table err of kind `auth`, or `timeout` if the deadline has passed meanwhile
function token.for_attempt(call)
  local found = call.next_token
  call.next_token = nil
  if not found then
    local err
    found, err = token.ask(call)
    if call.done or not found then return nil, err end
    if core.now() >= call.deadline then
      return nil, core.failure("timeout", "the deadline passed before the request was sent")
    end
  end
  call.last_token = found
  return found
end

--- After a 401, asks the token function for another token: once per call, and only if the call
-- may be retried at all.
-- @tparam table call
-- @tparam table err what the last attempt came to
-- @treturn boolean whether there is a different token and time left for an attempt with it
function token.refresh(call, err)
  if err.status ~= 401 or not call.token or call.retries <= 0 or call.refreshed then
    return false
  end
  call.refreshed = true
  local found = token.ask(call, true)
  if not found or found == call.last_token then return false end
  call.next_token = found
  return core.now() < call.deadline
end

return token
