--- Token functions: a `token` option that is a function is called before every attempt, and once
-- more after a 401, with the refused token. What the function raises or returns may hold a token,
-- so no message repeats it.
--
-- The calls of a client share the *source* of a function: which token it returned last, and which
-- tokens were refused. So one refused token leads to one call of the function, however many calls
-- were refused with it.
-- @module crux.token
local callback = require "crux.callback"
local core = require "crux.core"

local gsub, match, next, pcall, type = string.gsub, string.match, next, pcall, type
local running = coroutine.running

local token = {}

-- How many refused tokens a source remembers.
local REMEMBERED = 16
-- How often a call looks whether another one has got a token, in seconds.
local PERIOD = 0.005

--- Makes the source of a token function.
-- @treturn table
function token.source()
  return {
    newest = false,             -- the last token that was not refused when the function returned it
    refused = {},               -- by refused token, the number of the last question for another
    remembered = {}, place = 0, -- these tokens in a circular buffer, and the place of the last
    questions = 0,              -- how often the function was asked for another token
    asker = false,              -- the coroutine in which it is being asked
    asks_until = 0,             -- the deadline of the call that asks
  }
end

-- --- secrets ---

--- Removes from a text every token that is known to this call.
-- @tparam table call
-- @tparam string text
-- @treturn string
function token.redact(call, text)
  if not call.given then return text end
  for given in next, call.given do text = core.redact(text, given) end
  for refused in next, call.source.refused do text = core.redact(text, refused) end
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

-- What the function raised as a part of a message. It may hold a token or password that crux has
-- never seen, so words that are as long as one are removed too.
local function raised(call, why)
  if why == nil then return "" end
  local text = token.redact(call, callback.text(why))
  text = gsub(text, "[%w_%-]+", function(word) return #word >= 20 and "[redacted]" or nil end)
  return ": " .. text
end

-- Why what the function returned is not a token.
local function problem_with(call, found, reason)
  if found == nil then
    if type(reason) ~= "string" then return "the token function returned none" end
    return "the token function returned none: " .. token.redact(call, reason)
  end
  local why = "the token function returned an unusable token, a " .. type(found)
  local _, ends_in_newline = core.is_token(found)
  return ends_in_newline and why .. " that ends in a newline" or why
end

-- --- the function ---

--- Calls the token function.
-- @tparam table call
-- @tparam[opt] string refused after a 401: the function's argument
-- @treturn[1] string token
-- @treturn[2] nil
-- @treturn[2] table err of kind `auth`
-- @raise the interpreter's Ctrl-C
function token.ask(call, refused)
  local source = call.source
  if refused then source.asker, source.asks_until = running() or true, call.deadline end
  local ok, found, reason = pcall(call.token, refused)
  if refused then source.asker = false end
  if not ok then callback.pass_interrupt(found) end
  if ok and core.is_token(found) then
    call.given[found] = true
    if not source.refused[found] then source.newest = found end
    return found
  end
  local why = ok and problem_with(call, found, reason)
    or "the token function raised an error" .. raised(call, found)
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
  call.question = call.source.questions
  if not found then
    local err
    found, err = token.ask(call)
    if call.done or not found then return nil, err end
    if call.now() >= call.deadline then
      return nil, core.failure("timeout", "the deadline passed before the request was sent")
    end
  end
  call.last_token = found
  return found
end

-- --- after a 401 ---

-- Remembers a refused token in place of the oldest one.
local function remember(source, refused)
  if source.refused[refused] then return end
  source.place = source.place % REMEMBERED + 1
  local oldest = source.remembered[source.place]
  if oldest then source.refused[oldest] = nil end
  source.remembered[source.place], source.refused[refused] = refused, 0
end

-- The function is being asked by another call. Returns whether this one can wait for its answer.
-- That never comes if the other light thread was killed, or is this very coroutine.
local function can_wait(call, source)
  return call.can_wait and source.asker ~= (running() or true) and call.now() < source.asks_until
end

-- Asks the function, unless it was asked since the refused token was taken, or by this call.
local function ask_again(call, source, refused)
  if call.refreshed or (source.refused[refused] or 0) > call.question then return nil end
  call.refreshed, source.questions = true, source.questions + 1
  if source.refused[refused] then source.refused[refused] = source.questions end
  local found = token.ask(call, refused)
  return found ~= refused and found or nil
end

--- After a 401, gets another token, if the call may be retried at all: the newest one, if it is not
-- the refused one, else that of the function, which is asked once per call.
-- @tparam table call
-- @tparam table err what the last attempt came to
-- @treturn boolean whether there is a different token and time left for an attempt with it
-- @treturn ?number seconds after which to ask this again, while another call asks the function
function token.refresh(call, err)
  if err.status ~= 401 or not call.token then return false end
  local source, refused = call.source, call.last_token
  local found
  remember(source, refused)
  if call.retries <= 0 or call.now() >= call.deadline then return false end
  if source.newest and source.newest ~= refused and not source.refused[source.newest] then
    found = source.newest
    call.given[found] = true
  elseif source.asker and can_wait(call, source) then return false, PERIOD
  elseif source.asker and call.now() < source.asks_until then return false
  else found = ask_again(call, source, refused) end
  if not found then return false end
  call.next_token = found
  return call.now() < call.deadline
end

return token
