--- A client: options, and the calls that can be made under them. `crux.new` makes one.
-- @classmod crux.client
local core = require "crux.core"
local environment = require "crux.environment"
local Loop = require "crux.scheduler"
local Pending = require "crux.pending"
local batch = require "crux.batch"
local curl = require "crux.curl"
local policy = require "crux.call"

local error, getmetatable, ipairs, next, rawget = error, getmetatable, ipairs, next, rawget
local setmetatable, type = setmetatable, type
local format = string.format

local RETRIES = 2

local Client = {}
Client.__index = Client
Client.__name = "crux.client"

local function check(options, what, level)
  if type(options) ~= "table" then
    error(format("expected a table of %s, found %s", what, options == nil and "nothing" or type(options)), level + 1)
  end
end

-- Raises what to write instead, of `client.step()`. `level`: as for `error`, the user's.
local function expect_colon(name, level)
  error(format("expected client:%s(...), found client.%s(...): write a colon", name, name), level + 1)
end

-- How a call waits: on the caller's thread.
local BLOCKING = {
  direct = true, send = core.perform, sleep = function(seconds) core.sleep(seconds) end,
  await = function(what, seconds) what:wait(seconds) end,
}

--- Makes a client out of a table that is this function's to change, and of what the environment says.
-- @tparam table options
-- @tparam table said
-- @tparam[opt] table host how its calls wait: `admit`, if there is one, raises where they cannot; `send` and `sleep` as for
--   `crux.call`'s `carry`, `await` (an inbox or a request, seconds) for what was submitted; it may return early;
--   `direct`: an attempt blocks, so that the first is made before there is anything that Lua has to hold
-- @local
function Client.make(options, said, host)
  local from = {}
  for name, value in next, said do
    if options[name] == nil then options[name], from[name] = value, environment.names[name] end
  end
  local handle, err = core.client(options)
  if not handle then
    if from[err.field] then err.message = err.message .. ", in " .. from[err.field] end
    return nil, err
  end
  return setmetatable({
    handle = handle,
    host = host or BLOCKING,
    loops = {}, -- its own and those of batches under way
    defaults = {
      -- a token that is a string stays in C, where nothing prints it
      token = type(options.token) == "function" and options.token or nil,
      retries = options.retries or RETRIES,
      on_event = options.on_event,
    },
  }, Client)
end

--- A function that makes clients, as `new`, whose calls wait as that host would have them.
-- @local
function Client.constructor(host)
  return function(options)
    local copy = {}
    if options ~= nil then check(options, "options", 2) end
    if options and type(rawget(options, "new")) == "function" then
      error("expected crux.new{...}, found crux:new{...}: write a dot", 2)
    end
    for name, value in next, options or copy do copy[name] = value end
    return Client.make(copy, environment.options(), host)
  end
end

--- Makes a client.
-- @function Client.new
-- @tparam[opt] table options see the README; of those left out, `token`, `base_url` and `proxy` come from the environment
-- @treturn[1] crux.client
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise if options is given and not a table
Client.new = Client.constructor()

-- Of the options that this layer knows, a call's own win.
local function options_of(client, arguments)
  local defaults = client.defaults
  local token, retries, on_event = rawget(arguments, "token"), rawget(arguments, "retries"), rawget(arguments, "on_event")
  if token == nil then token = defaults.token end
  return {
    token = type(token) == "function" and token or nil,
    retries = retries or defaults.retries,
    on_event = on_event or defaults.on_event,
  }
end

-- The request of a call, its deadline and its options; or nil and an error. `level`: as for `error`, the user's.
local function prepare(client, name, arguments, level)
  check(arguments, "arguments", level + 1)
  local request, deadline, own = client.handle:prepare(name, arguments)
  return request, deadline, own and options_of(client, arguments) or client.defaults
end

--- A call of this client that has not begun.
-- @tparam string name as in `client:cancel_order`
-- @tparam table arguments
-- @treturn[1] table call, for `crux.call`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise on an unknown name, a closed client, or arguments that are not a table
function Client:prepare(name, arguments)
  local request, deadline, options = prepare(self, name, arguments, 3) -- by way of `submit` or `dry_run`
  if not request then return nil, deadline end
  return policy.new(request, deadline, options)
end

-- Raises what to write instead: of `client.cancel_order{...}`, or a call without a table.
local function misused(client, name, arguments)
  if type(client) ~= "table" or getmetatable(client) ~= Client then
    error(format("expected client:%s{...}, found client.%s{...}: write a colon", name, name), 3)
  end
  check(arguments, "arguments", 3)
end

local function perform(client, name, arguments)
  if type(arguments) ~= "table" or not client.host then misused(client, name, arguments) end
  local host, options = client.host, client.defaults
  if host.admit then host.admit() end
  if host.direct and not options.token and not options.on_event then
    local result, err, request, deadline, own = client.handle:call(name, arguments)
    if not request then return result, err end
    if own then options = options_of(client, arguments) end
    return policy.carry(request, deadline, options, host.send, host.sleep, client, err)
  end
  local request, deadline
  request, deadline, options = prepare(client, name, arguments, 2)
  if not request then return nil, deadline end
  return policy.carry(request, deadline, options, host.send, host.sleep, client)
end

--- Makes a call and blocks until there is an answer or its deadline has passed. Every endpoint has such a method:
-- `client:cancel_order(arguments)`, `client:get_order(arguments)`.
-- @function Client:call
-- @tparam string name
-- @tparam table arguments the endpoint's fields and any options
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise as `prepare`, and what `on_event` raises
function Client:call(name, arguments)
  if not self or not self.handle then expect_colon("call", 2) end
  return perform(self, name, arguments)
end

for _, name in ipairs(core.endpoints) do
  Client[name] = function(self, arguments) return perform(self, name, arguments) end
end

--- What a call would send, without sending it. No token is needed and a token function is not called.
-- @tparam string name
-- @tparam table arguments
-- @treturn[1] table `method`, `url`, `headers` (by their names on the wire) and `body`; its `tostring` is a command that
--   begins with `curl -q` and sends the same request, with `$CRUX_TOKEN` in place of the token
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise as `prepare`
function Client:dry_run(name, arguments)
  if not self or not self.handle then expect_colon("dry_run", 2) end
  local call, err = self:prepare(name, arguments)
  if not call then return nil, err end
  return setmetatable(call.request:dry_run(), curl)
end

-- --- without blocking ---

-- Made by the first method that needs it; a client that only blocks has none.
local function make_loop(self, name)
  if not self or not self.handle then expect_colon(name, 3) end
  self.handle:describe(true)
  local loop = Loop.new(self.host.await)
  self.loop, self.loops[loop] = loop, true
  return loop
end

--- Starts a call and returns at once: no look-up, handshake or server is ever waited for.
-- @tparam string name
-- @tparam table arguments
-- @treturn[1] crux.pending
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise as `prepare`, and what `on_event` raises
function Client:submit(name, arguments)
  if not self or not self.handle then expect_colon("submit", 2) end
  local call, err = self:prepare(name, arguments)
  if not call then return nil, err end
  return Pending.new(self.loop or make_loop(self, "submit"), self, call)
end

--- Carries on what is due, without blocking.
-- @treturn ?crux.pending a call that became done and was not returned yet
-- @raise what `on_event` raises
function Client:step()
  local loop = self and self.loop or make_loop(self, "step")
  return loop:step()
end

--- How many calls are submitted and not done.
-- @treturn number
function Client:in_flight()
  if not self or not self.handle then expect_colon("in_flight", 2) end
  return self.loop and self.loop.inbox:in_flight() or 0
end

--- A descriptor that is readable while `step` has something to do; the same one until `close`, but another in a fork.
-- @treturn number
function Client:pollfd()
  local loop = self and self.loop or make_loop(self, "pollfd")
  return loop.inbox:fd()
end

--- What to watch `pollfd` for.
-- @treturn string `"r"`
function Client:events()
  return (self and self.loop or make_loop(self, "events")) and "r"
end

--- Seconds until `step` is next due even if `pollfd` stays silent.
-- @treturn ?number
function Client:timeout()
  local loop = self and self.loop or make_loop(self, "timeout")
  return loop:timeout()
end

--- Cancels many orders, a few at a time, and waits for all. See `crux.batch`.
-- @function Client:cancel_orders
function Client:cancel_orders(items, options)
  if not self or not self.handle then expect_colon("cancel_orders", 2) end
  return batch.cancel_orders(self, items, options)
end

--- Closes the client: every call of it is done, and its methods but `in_flight` raise from now on. Closing again does
-- nothing.
function Client:close()
  if not self or not self.handle then expect_colon("close", 2) end
  self.closed = true
  self.handle:close()
  local loops = self.loops
  self.loop, self.loops = nil, {}
  for loop in next, loops do loop:close() end
end

Client.__close = Client.close

function Client:__tostring()
  return self.handle:describe()
end

return Client
