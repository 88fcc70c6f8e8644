--- One login of a session. It belongs to the client and not to the call that needed it: calls wait
-- for its end, and it goes on when one of them is aborted. It is a call of its own on the client's
-- scheduler, and moved on by `step`, and by whoever polls a waiting call or blocks for one. While
-- another process logs in, it looks from time to time for the token in the session's cache.
-- @classmod crux.login
local Call = require "crux.call"
local Pending = require "crux.pending"
local core = require "crux.core"
local event = require "crux.event"
local unreadable = require "crux.unreadable"

local error, max, min, next, setmetatable = error, math.max, math.min, next, setmetatable
local type = type

local Login = {}
Login.__index = Login

-- How often to look whether another process has logged in, in seconds.
local LOOK = 0.02
-- How often a caller looks that can only sleep, in seconds.
local SLICE = 0.005
-- After the deadline: by then the call has ended, unless its light thread was killed.
local GRACE = 1

--- Makes a login.
-- @tparam crux.session session
-- @tparam table call that needs it; its options are those of the login
-- @treturn[1] crux.login
-- @treturn[2] nil
-- @treturn[2] table err
function Login.new(session, call)
  local shared = session.shared
  local request, err = call.request:sibling("login")
  if not request then return nil, err end
  return setmetatable({
    session = session, request = request, password = call.options.password,
    cache = session.weak.cache, -- which lives as long
    scheduler = shared.scheduler(),
    deadline = shared.now() + shared.timeout,
    holders = {},    -- the schedulers whose calls wait
    pending = false, call = false, -- once it was sent
    due = false,     -- when to look again, before
    issued = 0,      -- when it was sent, in seconds since 1970
    done = false, err = nil,
    _slot = false,   -- of the scheduler
  }, Login)
end

-- Ends the login. `result` or `err`; neither: the cache has a token.
local function finish(self, result, err)
  if self.done then return end
  local session, call = self.session, self.call
  self.done, session.login = true, false
  if self._slot then self.scheduler:release(self) end
  local body = result and result.body
  local found = type(body) == "table" and body.auth_token
  if result and not core.is_token(found) then
    err = unreadable("login", "an auth_token", result)
  end
  self.err = err
  for scheduler in next, self.holders do scheduler:release_held(self) end
  if err then session:take_error(err, self.password)
  elseif result then
    session:take(found, self.issued)
    call.given[found] = true
  end
  -- the lock that a forked child finds is its parent's
  if call and not self.request:inherited() then session:unlock() end
  local on_event = session.shared.on_event
  if call and on_event then
    call.on_event = on_event
    local ok, why = session:inside(event.emit, call, "login", err or result)
    if not ok then error(why, 0) end
  end
end

local function send(self)
  local session = self.session
  local shared = session.shared
  local call = Call.new(self.request, self.deadline, shared.login_options)
  self.call, self.issued, self.due = call, shared.time(), false
  call.session, call.password, call.given = session, self.password, {}
  call.on_done = function() finish(self, call.result, call.err) end
  if shared.on_event then event.prepare(call) end
  local ok, pending = session:inside(Pending.new, self.scheduler, call)
  if ok then
    self.pending = pending
    if shared.go_on and not self.done then shared.go_on(self) end
    return
  end
  if not self.done then -- out of memory, or a mock without an answer
    self.scheduler:forget(call)
    session:unlock()
    self.done, session.login = true, false
    for scheduler in next, self.holders do scheduler:release_held(self) end
  end
  error(pending, 0)
end

-- Sends the request if no other process has done so, or waits for its token.
local function look(self)
  local session = self.session
  if not session:lock(max(self.deadline - session.shared.now(), 1)) then
    self.due = session.shared.now() + LOOK
    self.scheduler:pause(self, self.due)
  elseif self.cache and session:current() then -- since the last look
    session:unlock()
    finish(self)
  else send(self) end
end

--- Begins. The login may be done at once.
-- @raise the interpreter's Ctrl-C
function Login:begin() look(self) end

--- Does pending work without blocking.
-- @treturn boolean false
-- @raise the interpreter's Ctrl-C
function Login:advance()
  local session = self.session
  local now = session.shared.now()
  if self.done then return false end
  if now > self.deadline + GRACE then
    session.calling = false
    finish(self, nil, core.failure("timeout", "the deadline passed"))
    if self.pending then self.pending:abort() end
  elseif session.calling then return false
  elseif self.pending then self.pending:advance()
  elseif self.due and self.due <= now then
    if session:current() then finish(self)
    elseif now >= self.deadline then
      finish(self, nil, core.failure("timeout", "another process did not end its login in time"))
    else look(self) end
  end
  return false
end

--- Returns whether a Ctrl-C was raised before it was sent, so that it will never end.
-- @treturn boolean
function Login:is_lost()
  return not self.done and not self.pending and not self.due and not self.session.calling
end

--- Returns whether it looks again then; see `Scheduler:pause`.
-- @tparam number due
-- @treturn boolean
function Login:pauses_until(due) return not self.done and self.due == due end

--- Returns whether a function that the request calls runs in this coroutine.
-- @param thread
-- @treturn boolean
function Login:is_called_in(thread)
  return self.pending and self.pending:is_moved_in(thread) or false
end

--- Waits up to `seconds` for its end, and may return early.
-- @tparam number seconds
-- @raise the interpreter's Ctrl-C
function Login:wait(seconds)
  local pending = self.pending
  if pending and not self.session.calling and not pending:is_moved_in() then
    pending:wait(max(seconds, 0))
  else self.scheduler:sleep(min(max(seconds, 0), SLICE)) end
  self:advance()
end

return Login
