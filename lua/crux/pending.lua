--- A submitted call: what `client:submit` returns. It keeps its client alive; one that is
-- garbage-collected is aborted.
-- @classmod crux.pending
local Call = require "crux.call"

local error, pcall, setmetatable, type = error, pcall, setmetatable, type
local running = coroutine.running
local huge, max, min, format = math.huge, math.max, math.min, string.format

local Pending = {}
Pending.__index = Pending
Pending.__name = "crux.pending"

-- Tells the scheduler that the call is done, once. `in_step`, here and below: the scheduler's
-- `step` is what moves the call on. Returns true if `step` now has to return the pending.
local function finish(self, in_step)
  if not self._request:finish() then return false end
  return self._scheduler:finish(self, in_step)
end

-- Ends the call without an answer. The three arguments are what `request:abort` returns: whether
-- the attempt under way was never sent, how many bytes may have been, and `safe`.
local function give_up(self, unsent, bytes, safe)
  local call = self._call
  -- `request:abort` answers once. Should memory run out below, `advance` ends the call later.
  call.given_up = true
  if not unsent then
    call.sends, call.bytes_sent = min(call.sends + 1, call.attempts), call.bytes_sent + bytes
  end
  Call.give_up(call, safe, self._request:inherited())
  finish(self)
end

local function settle(self, result, err, in_step)
  local call = self._call
  if Call.settle(call, result, err) then return finish(self, in_step) end
  self._request:abort() -- the attempt has ended and is counted: this makes C forget its bytes
  if call.awaits then self._scheduler:hold(self, call.awaits)
  elseif call.pace then call.pace:park(self)
  else self._scheduler:pause(self, call.due) end
end

-- Starts an attempt.
local function attempt(self)
  local call, request, scheduler = self._call, self._request, self._scheduler
  local ready, token = Call.begin(call)
  if call.has_callbacks then -- which may have aborted the call, closed the client or forked
    if call.done then return finish(self) end
    if scheduler:is_closed() or request:inherited() then return self:abort() end
  end
  if not ready then
    if token then settle(self, nil, token)
    elseif call.awaits then scheduler:hold(self, call.awaits)
    else scheduler:pause(self, call.due) end
    return
  end
  local started, err = scheduler:start(self, request, token, call.deadline)
  if started then return end
  -- nil: a finalizer or hook has aborted the call or closed the client since
  if started == nil then return self:abort() end
  settle(self, nil, err)
end

-- Starts the first attempt of a call with callbacks, or the next one of any call.
local function start(self)
  local call = self._call
  self._moving, call.due, call.awaits = call.has_callbacks and running() or true, nil, nil
  attempt(self)
  self._moving = false
end

-- Takes what the attempt has come to, if it has ended.
local function collect(self, in_step)
  self._moving = self._call.has_callbacks and running() or true
  local result, err = self._request:answer()
  local is_for_step
  if self._call.done then is_for_step = false -- a finalizer has aborted it meanwhile
  elseif result or err then is_for_step = settle(self, result, err, in_step)
  elseif result == nil then give_up(self, self._request:abort()) end -- lost in a fork
  self._moving = false
  return is_for_step
end

-- Runs `start` or `collect`. Whatever is raised in there (by a hook such as that of Ctrl-C, in a
-- callback too, or for lack of memory) ends the call with what was known by then, and is raised
-- again.
local function protected(self, step, in_step)
  local ok, value = pcall(step, self, in_step)
  if ok then return value end
  self._moving = false
  local call, last_known = self._call, self._call.last_known
  if call.done then finish(self) -- raised between these two
  else
    local unsent, bytes, safe = self._request:abort()
    if call.settled == call.attempts then unsent = true end -- the last attempt is counted
    if not last_known or not unsent then give_up(self, unsent, bytes, safe)
    else
      if last_known.outcome == "accepted" then Call.finish(call, last_known)
      else Call.finish(call, nil, last_known) end
      finish(self)
    end
  end
  error(value, 0)
end

-- Makes the pending of a call and starts the first attempt, unless it `is_parked`. `_slot`: see
-- `Scheduler:register`; `_moving`: `start` or `collect` is running, in this coroutine if there are
-- callbacks, which must not wait for the call. `class`: another class that is made like this one.
-- @local
function Pending.new(scheduler, call, is_parked, class)
  local self = setmetatable({
    _call = call, _request = call.request, _scheduler = scheduler, _slot = false, _moving = false,
  }, class or Pending)
  call.can_wait = true
  scheduler:add(call)
  if is_parked then return self end
  -- Without callbacks nothing needs protection: an error that is raised here leaves a pending that
  -- nobody holds, and the garbage collector aborts it.
  if call.has_callbacks then protected(self, start) else attempt(self) end
  return self
end

--- Starts the next attempt of a call that its batch has parked.
-- @local
function Pending:resume() protected(self, start) end

--- Ends a call that its batch has parked with what is known of it.
-- @tparam table err
-- @local
function Pending:end_with(err)
  if not self._call.done then Call.finish(self._call, nil, err) end
  finish(self)
end

--- Returns the call, which its batch changes while it is parked.
-- @treturn table
-- @local
function Pending:call() return self._call end

--- Returns whether `start` or `collect` is running.
-- @param[opt] thread only in this coroutine
-- @local
function Pending:is_moved_in(thread)
  return self._moving and (not thread or self._moving == thread)
end

-- A call waits for a login. When it has ended, the call starts, or its batch decides when.
local function await(self, awaits)
  local call = self._call
  if self._request:inherited() then return self:abort() end
  awaits:advance()
  if call.done or call.awaits ~= awaits then return end -- by a function that the login called
  if awaits.done and call.pace then
    call.awaits, call.due = nil, call.now()
    call.pace:park(self)
  elseif awaits.done or call.due <= call.now() then protected(self, start) end
end

--- Does pending work for this call without blocking.
-- @tparam[opt] boolean in_step
-- @treturn ?boolean true if `step` has to return the pending, which became done
-- @local
function Pending:advance(in_step)
  local call = self._call
  if call.done then return false end
  if call.given_up or not in_step and self._scheduler:is_closed() then
    self:abort()
  elseif call.awaits then await(self, call.awaits)
  elseif call.due then
    if self._request:inherited() then self:abort()
    elseif call.due <= call.now() then protected(self, start) end
  elseif in_step or self._request:done() then
    return protected(self, collect, in_step)
  end
  return false
end

--- What `poll` does for a call that is not done.
-- @local
Pending.look = Pending.advance

--- Whether the call pauses until then.
-- @tparam number due seconds on the driver's clock
-- @treturn boolean
-- @local
function Pending:pauses_until(due) return self._call.due == due end

-- Raises what to write instead of `pending.poll()`.
local function expect_colon(name)
  error(format("expected pending:%s(...), found pending.%s(...): write a colon", name, name), 3)
end

--- Returns the call's state without blocking. Once done, it always returns the same values, also
-- after the client was closed. While the call is in flight it allocates no memory.
-- @treturn boolean done
-- @treturn ?table result
-- @treturn ?table err
-- @raise Ctrl-C in a callback
-- @usage local done, result, err = pending:poll()
-- if done then print((result or err).outcome) end
-- @see crux.client:step
function Pending:poll()
  if type(self) ~= "table" or not self._call then expect_colon("poll") end
  local call = self._call
  if not call.done then
    self:look()
    if not call.done then return false end
  end
  return true, call.result, call.err
end

--- What `wait` does.
-- @local
function Pending:wait_at_most(seconds)
  local call, scheduler = self._call, self._scheduler
  local until_then = call.now() + seconds
  while true do
    self:advance()
    local left = until_then - call.now()
    if call.done or left <= 0 then
      if call.done then return true, call.result, call.err end
      return false
    end
    if call.awaits then call.awaits:wait(min(left, call.due - call.now()))
    elseif call.due then scheduler:sleep(min(left, max(call.due - call.now(), 0)))
    else scheduler:await(self._request, left) end
  end
end

--- Like `poll`, but waits up to `seconds`, or until the call is done.
-- @tparam[opt] number seconds 0 or more; a negative number counts as 0
-- @treturn boolean done
-- @treturn ?table result
-- @treturn ?table err
-- @raise Ctrl-C in a callback; if `seconds` is not a number, or NaN; inside the call's own
--   `on_event`, token or `headers` function, since the call cannot go on before that returns
-- @usage local done, result, err = pending:wait(5)
-- @see poll
function Pending:wait(seconds)
  if type(self) ~= "table" or not self._call then expect_colon("wait") end
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    local found = type(seconds) == "number" and "nan" or "a " .. type(seconds)
    error("expected a number of seconds, found " .. found, 2)
  end
  if self._moving and not self._call.done then
    error("wait called from the call's own callback", 2)
  end
  return self:wait_at_most(seconds or huge)
end

--- Cancels the call: it is done from now on, with `err.kind` `"aborted"` and the outcome
-- `"not_sent"` or `"unknown"`. A call that was done before keeps its result; so does one whose
-- answer is there already, though nobody has asked for it.
-- @usage pending:abort()
-- print(select(3, pending:poll()).kind) --> aborted
-- @see poll
function Pending:abort()
  if type(self) ~= "table" or not self._call then expect_colon("abort") end
  local call = self._call
  if call.done then return end
  call.retries = -1 -- no attempt follows one that has ended by now
  if not call.due and self._request:done() then protected(self, collect)
  else give_up(self, self._request:abort()) end
end

function Pending:__tostring()
  local done = self._call.done or self._scheduler:is_closed()
  return format("crux.pending (%s)", done and "done" or "in flight")
end

return Pending
