--- A call that was submitted: what `client:submit` returns.
-- @classmod crux.pending
local core = require "crux.core"
local policy = require "crux.call"

local error, pcall, setmetatable, type = error, pcall, setmetatable, type
local huge, max, min, format = math.huge, math.max, math.min, string.format

local Pending = {}
Pending.__index = Pending
Pending.__name = "crux.pending"

-- `in_step`, here and below: it is `step` of the loop that moves the call on, and hands it out.
local function finish(self, in_step)
  if self.request:finish() then self.loop:finish(self, in_step) end
end

-- Done without an answer: what was under way, that many bytes, will not be heard of.
local function give_up(self, unsent, bytes, safe)
  local call = self.call
  -- what cannot be asked twice is kept first: should memory run out below, whoever moves the call on next ends it
  self.given_up = true
  if not unsent then call.sends, call.bytes_sent = call.sends + 1, call.bytes_sent + bytes end
  policy.give_up(call, safe, self.request:inherited())
  finish(self)
end

local function settle(self, result, err, in_step)
  local call = self.call
  if policy.settle(call, result, err) then finish(self, in_step)
  else self.loop:pause(self, call.due) end
end

local function launch(self)
  local call = self.call
  call.due = nil
  local ready, token = policy.begin(call)
  if call.done then return end -- by `on_event` or the token function
  if self.loop.closed or self.request:inherited() then return self:abort() end -- by `on_event`
  if not ready then return settle(self, nil, token) end
  local started, err = self.request:start(token, call.deadline, self.loop:enrol(self))
  if started == nil then return self:abort() end -- by a finalizer or hook, for which there was time
  if not started then settle(self, nil, err) end
end

local function answered(self, in_step)
  local result, err = self.request:answer()
  if self.call.done then return end -- aborted by a finalizer, for which there was time
  if result or err then settle(self, result, err, in_step) else give_up(self, self.request:abort()) end
end

-- What `on_event` raises is raised by whoever moved the call on, and ends it with what was known by then.
local function guarded(self, step, in_step)
  self.moving = true
  local ok, why = pcall(step, self, in_step)
  self.moving = false
  if ok then return end
  local call, heard = self.call, self.call.heard
  if not call.done then
    local unsent, bytes, safe = self.request:abort()
    if not heard or not unsent then give_up(self, unsent, bytes, safe)
    else
      policy.finish(call, heard.outcome == "accepted" and heard or nil, heard.outcome ~= "accepted" and heard or nil)
      finish(self)
    end
  end
  error(why, 0)
end

function Pending.new(loop, client, call)
  local self = setmetatable({
    loop = loop, client = client, call = call, request = call.request, given_up = false,
    moving = false,
  }, Pending)
  loop.inbox:register(call.request)
  guarded(self, launch)
  return self
end

--- Moves the call on, if there is anything to do for it.
-- @tparam[opt] boolean in_step
-- @local
function Pending:advance(in_step)
  local call = self.call
  if call.done then return end
  if self.loop.closed or self.given_up then return self:abort() end
  if call.due then
    if self.request:inherited() then self:abort()
    elseif call.due <= core.now() then guarded(self, launch) end
  elseif self.request:done() then guarded(self, answered, in_step) end
end

--- Asks, without blocking, what has become of the call. Once it is done it answers the same for ever.
-- @treturn boolean done
-- @treturn ?table result
-- @treturn ?table err
-- @raise what `on_event` raises
function Pending:poll()
  local call = self.call
  if not call.done then
    self:advance()
    if not call.done then return false end
  end
  return true, call.result, call.err
end

--- The same, but gives the call time.
-- @tparam[opt] number seconds at most so many, 0 or more; until it is done if left out
-- @treturn boolean done
-- @treturn ?table result
-- @treturn ?table err
-- @raise what `on_event` raises; if what is given is no number; from inside the call's own `on_event` or token function,
--   which the call waits for
function Pending:wait(seconds)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    error("expected a number of seconds, found " .. (type(seconds) == "number" and "nan" or "a " .. type(seconds)), 2)
  end
  local call, host = self.call, self.client.host
  if self.moving and not call.done then error("wait called from the call's own callback", 2) end
  local until_then = core.now() + (seconds or huge)
  while true do
    self:advance()
    local left = until_then - core.now()
    if call.done or left <= 0 then return self:poll() end
    if call.due then host.sleep(min(left, max(call.due - core.now(), 0)))
    else host.await(self.request, left) end
  end
end

--- Gives the call up: it is done from now on, of kind `aborted`, `not_sent` or `unknown`. A finished one keeps its result.
function Pending:abort()
  local call = self.call
  if call.done then return end
  call.retries = -1 -- an attempt that has ended by now is the last
  if not call.due and self.request:done() then guarded(self, answered)
  else give_up(self, self.request:abort()) end
end

function Pending:__tostring()
  return format("crux.pending (%s)", (self.call.done or self.loop.closed) and "done" or "in flight")
end

return Pending
