--- The `token` option as a function: it is called before every attempt, and once more after a 401,
-- with the refused token.
--
-- The calls of a client share one object for each function: which token it returned last, and which
-- tokens were refused. So one refused token leads to one call of the function, however many calls
-- were refused with it. `crux.session` is the other source of tokens, with the same two methods.
-- @classmod crux.token_function
local Recent = require "crux.recent"
local callback = require "crux.callback"
local core = require "crux.core"
local token = require "crux.token"

local pcall, setmetatable, type = pcall, setmetatable, type
local running = coroutine.running

local TokenFunction = {}
TokenFunction.__index = TokenFunction

-- How often a call looks whether another one has got a token, in seconds.
local PERIOD = 0.005

--- Makes the source of a token function.
-- @tparam function f
function TokenFunction.new(f)
  return setmetatable({
    f = f,
    newest = false,     -- the last token that was not refused when the function returned it
    refused = Recent.new(token.REMEMBERED), -- by refused token, the number of the last question
    questions = 0,      -- how often the function was asked for another token
    asker = false,      -- the coroutine in which it is being asked
    asks_until = 0,     -- the deadline of the call that asks
  }, TokenFunction)
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

-- Calls the function; `refused`: after a 401, its argument. Returns a token, or nil and an error of
-- kind `auth`. Raises the interpreter's Ctrl-C.
local function ask(self, call, refused)
  if refused then self.asker, self.asks_until = running() or true, call.deadline end
  local ok, found, reason = pcall(self.f, refused)
  if refused then self.asker = false end
  if not ok then callback.pass_interrupt(found) end
  if ok and core.is_token(found) then
    call.given[found] = true
    if not self.refused:get(found) then self.newest = found end
    return found
  end
  local why = ok and problem_with(call, found, reason)
    or "the token function raised an error" .. token.raised(call, found)
  return nil, core.failure("auth", why)
end

--- Returns the token for the next attempt: the one that `refresh` got, otherwise a new one.
-- The function may take long, and may abort the call.
-- @tparam table call
-- @treturn[1] string token
-- @treturn[2] nil
-- @treturn[2] table err of kind `auth`, or `timeout` if the deadline has passed meanwhile
-- @raise the interpreter's Ctrl-C
function TokenFunction:for_attempt(call)
  local found = call.next_token
  call.next_token = nil
  call.question = self.questions
  if not found then
    local err
    found, err = ask(self, call)
    if call.done or not found then return nil, err end
    if call.now() >= call.deadline then
      return nil, core.failure("timeout", "the deadline passed before the request was sent")
    end
  end
  call.last_token = found
  return found
end

-- The function is being asked by another call. Returns whether this one can wait for its answer.
-- That never comes if the other light thread was killed, or is this very coroutine.
local function can_wait(self, call)
  return call.can_wait and self.asker ~= (running() or true) and call.now() < self.asks_until
end

-- Asks the function, unless it was asked since the refused token was taken, or by this call.
local function ask_again(self, call, refused)
  if call.refreshed or (self.refused:get(refused) or 0) > call.question then return nil end
  call.refreshed, self.questions = true, self.questions + 1
  if self.refused:get(refused) then self.refused:set(refused, self.questions) end
  local found = ask(self, call, refused)
  return found ~= refused and found or nil
end

--- A call got through with a token, which the function need not know.
function TokenFunction.accept() end

--- After a 401, gets another token, if the call may be retried at all: the newest one, if it is not
-- the refused one, else that of the function, which is asked once per call. While another call asks
-- the function, `call.due` says when to ask this again.
-- @tparam table call
-- @tparam table err what the last attempt came to
-- @treturn boolean whether there is a different token and time left for an attempt with it
-- @raise the interpreter's Ctrl-C
function TokenFunction:refresh(call, err)
  if err.status ~= 401 then return false end
  local refused = call.last_token
  local found
  if not self.refused:get(refused) then self.refused:set(refused, 0) end
  if call.retries <= 0 or call.now() >= call.deadline then return false end
  if self.newest and self.newest ~= refused and not self.refused:get(self.newest) then
    found = self.newest
    call.given[found] = true
  elseif self.asker and can_wait(self, call) then
    call.refusal, call.due = err, call.now() + PERIOD
    return false
  elseif self.asker and call.now() < self.asks_until then return false
  else found = ask_again(self, call, refused) end
  if not found then return false end
  call.next_token = found
  return call.now() < call.deadline
end

return TokenFunction
