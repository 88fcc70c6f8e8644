--- The options that the Lua layer acts on, and not C: those of retries, tokens, logins and events,
-- and of `headers` functions. C has checked them. What they make is the `options` of `crux.call`.
-- @classmod crux.lua_options
local Session = require "crux.session"
local TokenFunction = require "crux.token_function"
local core = require "crux.core"
local environment = require "crux.environment"
local request_headers = require "crux.request_headers"
local retry = require "crux.retry"

local format, ipairs, next, pcall, rawget = string.format, ipairs, next, pcall, rawget
local setmetatable, tonumber, type = setmetatable, tonumber, type

local LuaOptions = {}
LuaOptions.__index = LuaOptions

local RETRIES = 2
local TIMEOUT = 30

local NAMES = { "token", "username", "password", "token_cache", "retries", "on_event" }

-- The options of a call. A token that is a string stays in C, where nothing prints it, except with
-- a username: the session of that user has to know when it is refused.
local function make(shared, values)
  local token, username = values.token, values.username
  local options = {
    now = shared.now, budget = shared.budget, retries = values.retries,
    may_retry = shared.may_retry,
    headers = values.headers, on_event = values.on_event,
    has_token = token ~= nil or username ~= nil,
  }
  if type(token) == "function" then
    options.source = shared.functions[token] or TokenFunction.new(token)
    shared.functions[token] = options.source
  elseif username ~= nil then
    options.username, options.password, options.own_token = username, values.password, token
    options.cache = values.token_cache
    options.source_of = function(request) return Session.of(shared, options, request) end
  end
  options.has_callbacks = options.source ~= nil or username ~= nil or values.headers ~= nil
    or values.on_event ~= nil
  return options
end

-- Returns nil and an error if there is a token cache without its methods.
local function check_cache(cache)
  if cache == nil then return true end
  local ok, get, set = pcall(function() return cache.get, cache.set end)
  if ok and get ~= nil and set ~= nil then return true end
  local err = core.failure("invalid", format(
    "token_cache: expected an object with get and set, found a %s without them", type(cache)))
  err.field = "token_cache"
  return nil, err
end

--- Makes the options of a client.
-- @tparam table values
-- @tparam boolean from_environment whether the environment says who calls: then the credentials of
--   a call replace these, and do not go with them
-- @tparam table driver see `Client.make`
-- @tparam function on_budget_change see `retry.budget`
-- @tparam function scheduler returns the client's own
-- @treturn[1] crux.lua_options `defaults` are the options of a call that gives none
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function LuaOptions.new(values, from_environment, driver, on_budget_change, scheduler)
  local ok, err = check_cache(values.token_cache)
  if not ok then return nil, err end
  local self = setmetatable({ from_environment = from_environment, values = {} }, LuaOptions)
  for _, name in ipairs(NAMES) do self.values[name] = values[name] end
  self.values.retries = values.retries or RETRIES
  self.values.headers = request_headers.of_client(values.headers)
  -- what all calls of the client share
  self.shared = {
    now = driver.now, time = driver.time or core.time, scheduler = scheduler,
    go_on = driver.go_on,
    budget = retry.budget(on_budget_change), may_retry = driver.may_retry,
    functions = setmetatable({}, { __mode = "k" }), -- the sources of token functions
    sessions = Session.set(),
    timeout = tonumber(values.timeout) or TIMEOUT, on_event = values.on_event,
  }
  self.shared.login_options = {
    now = driver.now, budget = self.shared.budget, retries = self.values.retries, has_token = true,
    may_retry = driver.may_retry,
    headers = self.values.headers, has_callbacks = self.values.headers ~= nil,
  }
  self.defaults = make(self.shared, self.values)
  return self
end

--- Returns the options of a call, which override the client's.
-- @tparam table arguments
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function LuaOptions:of(arguments)
  local own, rest = {}, self.values
  for _, name in ipairs(NAMES) do own[name] = rawget(arguments, name) end
  local ok, err = check_cache(own.token_cache)
  if not ok then return nil, err end
  if self.from_environment then rest = environment.complement(rest, own) end
  own.headers = request_headers.of_call(self.values.headers, rawget(arguments, "headers"))
  for name, value in next, rest do
    if own[name] == nil then own[name] = value end
  end
  return make(self.shared, own)
end

return LuaOptions
