--- A session: the token that a client has by logging in as one user. The calls of a client share
-- one session for each base URL, generation of the API and username, so that one refused token
-- leads to one login, however many calls were refused with it. `crux.token_function` is the other
-- source of tokens, with the same two methods, `for_attempt` and `refresh`.
--
-- Tokens may be shared with other clients and processes through a cache, the `token_cache` option.
-- @classmod crux.session
local Login = require "crux.login"
local Recent = require "crux.recent"
local callback = require "crux.callback"
local core = require "crux.core"
local token = require "crux.token"

local error, format, gsub, match, max = error, string.format, string.gsub, string.match, math.max
local pcall, setmetatable, tonumber, type = pcall, setmetatable, tonumber, type
local running = coroutine.running

local Session = {}
Session.__index = Session

-- The service's tokens expire two hours after they were issued. One is replaced a little earlier,
-- so that it does not expire on the way.
local LIFETIME, EARLY = 7200, 60
-- How long a refused login is remembered, in seconds.
local REFUSED = 60
-- Statuses of a login that say that the username or the password is wrong.
local IS_REFUSAL = { [400] = true, [401] = true, [403] = true }
-- How many logins a call begins after a 401, at most: a service may answer 401 for one order
-- alone, whatever the token.
local LOGINS = 5
-- How many sessions a client remembers that no call uses.
local SESSIONS = 64

local WEAK_KEYS, WEAK_VALUES = { __mode = "k" }, { __mode = "v" }

--- Makes the set of a client's sessions.
-- @treturn table
function Session.set() return setmetatable({}, WEAK_KEYS) end

--- Returns the session of a call.
-- @tparam table shared what the calls of a client share; see `crux.client`
-- @tparam table options the call's `username` and `cache`
-- @param request userdata
-- @treturn crux.session
function Session.of(shared, options, request)
  local cache, base_url, api = options.cache or shared, request:service()
  local key = format("%s %s %s", base_url, api, options.username)
  local set = shared.sessions[cache]
  if not set then
    set = { used = setmetatable({}, WEAK_VALUES), recent = Recent.new(SESSIONS) }
    shared.sessions[cache] = set
  end
  local self = set.used[key]
  if not self then
    self = setmetatable({
      shared = shared, key = key,
      -- Weak: Lua 5.1 never collects a weak key that its own value refers to.
      weak = setmetatable({ cache = options.cache }, WEAK_VALUES),
      token = false, expires = 0, -- on the client's clock
      worked = Recent.new(token.REMEMBERED), -- the tokens that some call got through with
      refused = Recent.new(token.REMEMBERED),
      login = false,   -- the one in flight
      refusal = false, -- of a login: `err`, `password`, and when it is forgotten
      calling = false, -- the coroutine in which a function of the user's runs for a login
    }, Session)
    set.used[key] = self
  end
  set.recent:set(key, self)
  return self
end

-- --- functions of the user's ---

-- Another login may have begun meanwhile, in another coroutine.
local function set_back(self, thread, before)
  if self.calling == thread then self.calling = before end
end

local function call_inside(self, thread, f, ...)
  local before = self.calling
  self.calling = thread
  local value, more = f(...)
  set_back(self, thread, before)
  return value, more
end

--- Calls a function as a part of a login, during which no call may need the login.
-- @treturn boolean as `pcall`
-- @local
function Session:inside(f, ...)
  local before, thread = self.calling, running() or true
  -- Ctrl-C may be raised before and after `f` too: all but the rare second one is caught here.
  local ok, value, more = pcall(call_inside, self, thread, f, ...)
  if not ok then set_back(self, thread, before) end
  return ok, value, more
end

local function call_method(object, name, ...) return object[name](object, ...) end

-- Calls a method of the cache. Errors in it count as nothing.
local function ask_cache(self, name, ...)
  local cache = self.weak.cache
  if not cache then return nil end
  local ok, value, why = self:inside(call_method, cache, name, ...)
  if ok then return value, why end
  callback.pass_interrupt(value)
  return nil, "raised"
end

-- --- the token ---

local function keep(self, found, age)
  local left = LIFETIME - EARLY - max(age, 0)
  if left <= 0 or self.refused:get(found) then return false end
  self.token, self.expires = found, self.shared.now() + left
  return left
end

--- Returns the token that is known to be good, from the cache if need be.
-- @treturn ?string
-- @local
function Session:current()
  if self.token and self.shared.now() < self.expires then return self.token end
  self.token = false
  local value = ask_cache(self, "get", "crux:" .. self.key)
  if type(value) ~= "string" then return nil end
  local issued, found = match(value, "^(%d+) (%S+)$")
  if not issued or not core.is_token(found) then return nil end
  return keep(self, found, self.shared.time() - tonumber(issued)) and found or nil
end

--- Takes the token of a login. Some services issue the token of before again; it is taken for good
-- then, though a call was refused with it.
-- @tparam string found
-- @tparam number issued seconds since 1970
-- @local
function Session:take(found, issued)
  self.refusal = false
  self.refused:set(found, false)
  local left = keep(self, found, self.shared.time() - issued)
  if left then ask_cache(self, "set", "crux:" .. self.key, format("%d %s", issued, found), left) end
end

--- Takes the error of a login.
-- @tparam table err
-- @tparam string password
-- @local
function Session:take_error(err, password)
  if not IS_REFUSAL[err.status] then return end
  self.refusal = { err = err, password = password, ends = self.shared.now() + REFUSED }
end

-- --- one login at a time, of all processes that share a cache which has `add` ---

--- Returns whether this process may log in.
-- @tparam number seconds after which another one may, if this one has ended meanwhile
-- @treturn boolean
-- @local
function Session:lock(seconds)
  local cache = self.weak.cache
  if not cache then return true end
  local ok, add = self:inside(function() return cache.add end)
  if not ok or add == nil then return true end
  local is_added, why = ask_cache(self, "add", "crux-login:" .. self.key, "1", seconds)
  if is_added then return true end
  return why ~= nil and why ~= "exists" -- the cache is out of order
end

--- Ends what `lock` began. A cache need not have `delete`, so the entry expires at once.
-- @local
function Session:unlock() ask_cache(self, "set", "crux-login:" .. self.key, "0", 0.001) end

-- --- what a call asks ---

-- The message of a login's error. One about an unreadable answer names the endpoint already.
local function worded(err)
  return match(err.message, "^login: ") and err.message or "login: " .. err.message
end

-- The error of a call that could not be made for want of a login.
local function failure(call, err)
  local copy = core.failure(IS_REFUSAL[err.status] and "auth" or err.kind, worded(err))
  copy.status, copy.detail, copy.retry_after = err.status, err.detail, err.retry_after
  copy.field, copy.hint, copy.retryable = err.field, err.hint, err.retryable
  call.login_error = copy
  return copy
end

-- Returns a token, or nil and the login to wait for, or nil, nil and the error of a login.
local function get(self, call)
  local thread, login = running() or true, self.login
  if self.calling == thread or login and login:is_called_in(thread) then
    error("a call was made inside a function that the client's login called", 0)
  end
  if login and login:is_lost() then self.login = false end
  if self.login then login:advance() end
  local found = self:current()
  if found then return found end
  if self.login then return nil, self.login end
  local refusal = self.refusal
  if refusal and refusal.password == call.options.password and call.now() < refusal.ends then
    return nil, nil, refusal.err
  end
  -- a function that the last login called may never return: its coroutine was killed
  self.calling = false
  local made, err = Login.new(self, call)
  if not made then return nil, nil, err end
  login, self.login = made, made
  login:begin()
  if not login.done then return nil, login end
  return self:current(), nil, login.err
end

-- Has the call wait for a login.
local function await(call, login)
  call.awaits, call.login, call.due = login, login, call.deadline
end

-- What the login that a call has waited for came to. One that was aborted came to nothing: by a
-- fork, or by a Ctrl-C in one of its functions.
local function ended_with(call)
  local login = call.login
  call.login, call.awaits = nil, nil
  if login and login.call then call.event_error = call.event_error or login.call.event_error end
  local err = login and login.done and login.err
  return err and err.kind ~= "aborted" and err or nil
end

--- Returns the token for the next attempt. Without one, either there is an error, or
-- `call.awaits` is the login to wait for, and `call.due` the end of that wait.
-- @tparam table call
-- @treturn[1] string token
-- @treturn[2] nil
-- @treturn[2] ?table err
-- @raise inside a function that the login calls; the interpreter's Ctrl-C
function Session:for_attempt(call)
  local found, err = call.options.own_token, ended_with(call)
  if err then return nil, failure(call, err) end
  if not found or self.refused:get(found) then
    if call.now() >= call.deadline then
      err = core.failure("timeout", "login: the deadline passed before it ended")
      call.login_error = err
      return nil, err
    end
    local login, why
    found, login, why = get(self, call)
    if call.done then return nil end
    if why then return nil, failure(call, why) end
    if not found then
      await(call, login)
      return nil
    end
  end
  call.given[found], call.last_token = true, found
  return found
end

--- A call got through with this token.
-- @tparam string found
function Session:accept(found)
  if not self.worked:get(found) then self.worked:set(found, true) end
end

--- After a 401, gets another token, if the call may be retried at all: the newest one, or that of
-- another login. If the token of that is refused too, there is a further login only if the token
-- has worked for some call, and so has expired; but a call begins only so many. `call.refusal` is
-- set while the call waits.
-- @tparam table call
-- @tparam table err what the last attempt came to
-- @treturn boolean whether there is a different token, and time left for an attempt with it
-- @raise as `for_attempt`
function Session:refresh(call, err)
  if err.status ~= 401 then
    if err.outcome == "rejected" then self:accept(call.last_token) end
    return false
  end
  local refused, is_resumed = call.last_token, call.login ~= nil
  local why = ended_with(call)
  if not is_resumed then
    self.refused:set(refused, true)
    if self.token == refused then self.token = false end
    if refused == call.options.own_token then call.options.own_token = nil end
  end
  if call.retries <= 0 or call.now() >= call.deadline then return false end
  local found, login = self:current(), nil
  local logins = call.logins or 0
  local may_log_in = not call.has_logged_in or self.worked:get(refused) and logins < LOGINS
  if not found and not why and may_log_in then
    if not self.login then call.logins = logins + 1 end
    found, login, why = get(self, call)
  end
  if login then
    call.has_logged_in, call.refusal = true, err
    await(call, login)
  elseif why then err.hint = gsub(worded(why), "%.$", "") end
  return found ~= nil and not login and found ~= refused
end

return Session
