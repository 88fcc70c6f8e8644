--- A client: options, and the calls that are made under them. `crux.new` makes one.
-- @classmod crux.client
local Call = require "crux.call"
local LuaOptions = require "crux.lua_options"
local Pending = require "crux.pending"
local Scheduler = require "crux.scheduler"
local batch = require "crux.batch"
local core = require "crux.core"
local curl = require "crux.curl"
local environment = require "crux.environment"
local orders = require "crux.orders"
local wait = require "crux.wait"

local concat, error, format, ipairs = table.concat, error, string.format, ipairs
local match, next, rawget, setmetatable = string.match, next, rawget, setmetatable
local type = type

local ENDPOINTS = {}
for _, name in ipairs(core.endpoints) do ENDPOINTS[name] = true end

local Client = {}
Client.__index = Client
Client.__name = "crux.client"

-- --- misuse; `level` is the user's, as the caller of these functions would give it to `error` ---

local function check_table(value, what, level)
  if type(value) == "table" then return end
  local found = value == nil and "nothing" or type(value)
  error(format("expected a table of %s, found %s", what, found), level + 1)
end

-- Raises what to write instead of `client.step()` or `client.cancel_order{...}`.
local function check_self(self, name, level)
  if type(self) == "table" and self._handle then return end
  local call = name .. (ENDPOINTS[name] and "{...}" or "(...)")
  error(format("expected client:%s, found client.%s: write a colon", call, call), level + 1)
end

local function check_open(self, name, level)
  check_self(self, name, level + 1)
  if self._closed then error("the client is closed", level + 1) end
end

-- The value is shown only if it looks like a name: it may be a secret in the wrong place.
local function check_endpoint(name, level)
  if ENDPOINTS[name] then return end
  local found = "a " .. type(name)
  if type(name) == "string" then
    found = #name <= 32 and match(name, "^[a-z_]+$") and "'" .. name .. "'" or "another string"
  end
  error(format("expected the name of a call, found %s; there are %s", found,
    concat(core.endpoints, ", ")), level + 1)
end

-- --- making a client ---

-- Blocks the caller's thread.
local BLOCKING = {
  direct = true, now = core.now, send = core.perform,
  sleep = function(seconds) core.sleep(seconds) end,
  await = function(what, seconds) what:wait(seconds) end,
}

--- Makes a client.
-- @tparam table options changed by this function
-- @tparam table env options set by environment variables, for those left out; see
--   `crux.environment`
-- @tparam[opt] table driver how attempts are made, and how calls wait:
--
--   - `now()`: the clock, in seconds;
--   - `send(request, token, deadline)`: makes an attempt and waits for its end; returns a result,
--     or nil and an error, or nothing in a forked child;
--   - `start(request, token, deadline, number)`, if there is one: instead of `request:start`;
--   - `sleep(seconds)`;
--   - `await(what, seconds)`: waits for an inbox or a request, and may return early;
--   - `admit(level)`, if there is one: raises at that level where calls cannot wait;
--   - `concurrent`: other calls go on meanwhile;
--   - `go_on(login)`, if there is one: moves a login on until it is done;
--   - `may_retry(request, err)`, if there is one: whether there may be an attempt after this err;
--   - `scheduler`, `pending`, if there are any: the classes of the client's own scheduler and of
--     its pendings;
--   - `direct`: attempts block, so that C can make the first one without a request that Lua holds
-- @treturn[1] crux.client
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @local
function Client.make(options, env, driver)
  local env_source, has_credentials = {}, environment.has_credentials(options)
  for name, value in next, environment.complement(env, options) do
    options[name], env_source[name] = value, environment.names[name]
  end
  local handle, err = core.client(options, not has_credentials)
  if not handle then
    if env_source[err.field] then err.message = err.message .. ", in " .. env_source[err.field] end
    return nil, err
  end
  driver = driver or BLOCKING
  local client, lua_options
  lua_options, err = LuaOptions.new(options, not has_credentials, driver,
    function(is_full)
      client._is_direct = is_full and client._can_be_direct and not client._closed
    end,
    function() return client:own_scheduler() end)
  if not lua_options then return nil, err end
  local can_be_direct = driver.direct and not lua_options.defaults.has_callbacks or false
  client = setmetatable({
    _handle = handle, _driver = driver, _closed = false, _options = lua_options,
    _can_be_direct = can_be_direct,
    -- the handle's `attempt` makes the first attempt; false once the client is closed, and while
    -- successes have to be told to the budget
    _is_direct = can_be_direct,
    _scheduler = false, -- of `submit` and `step`, made when first needed
    _schedulers = setmetatable({}, { __mode = "k" }), -- that one, and those of running batches
  }, Client)
  return client
end

--- Returns a function like `new`, for clients with this driver.
-- @tparam[opt] table driver as for `make`
-- @treturn function
-- @local
function Client.constructor(driver)
  return function(options)
    if options ~= nil then check_table(options, "options", 2) end
    if options and type(rawget(options, "new")) == "function" then
      error("expected crux.new{...}, found crux:new{...}: write a dot", 2)
    end
    local copy = {}
    for name, value in next, options or copy do copy[name] = value end
    return Client.make(copy, environment.options(), driver)
  end
end

--- Makes a client.
-- @function Client.new
-- @tparam[opt] table options see the README for all of them, their ranges and defaults; of those
--   left out, `token`, `base_url`, `ca_file`, `proxy` and `no_proxy` come from the environment
-- @treturn[1] crux.client
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`; `err.field` names the option
-- @raise if `options` is given and not a table
-- @usage local client = assert(crux.new{ token = token, timeout = 20 })
Client.new = Client.constructor()

-- --- blocking calls ---

-- Raises what to write instead of `client.cancel_order{...}` or of a call without a table, and if
-- the client is closed.
local function check_call(client, name, arguments, level)
  check_self(client, name, level + 1)
  check_table(arguments, "arguments", level + 1)
  check_open(client, name, level + 1)
end

--- Checks the arguments of a call.
-- @treturn[1] userdata request
-- @treturn[1] number its deadline, on the driver's clock
-- @treturn[1] boolean whether options stand among the arguments
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @local
function Client:request(name, arguments)
  local request, timeout, has_options = self._handle:prepare(name, arguments)
  if not request then return nil, timeout end
  return request, self._driver.now() + timeout, has_options
end

--- Makes a call to an endpoint that exists, and waits for its end: all attempts, unlike
-- `core.perform`, which makes one.
-- @tparam crux.client client
-- @tparam string name
-- @tparam table arguments
-- @tparam number level the user's, as the caller would give it to `error`
-- @return as `call`
-- @local
function Client.perform(client, name, arguments, level)
  local result, err, request, deadline, has_options
  if type(arguments) == "table" and type(client) == "table" and client._is_direct then
    result, err, request, deadline, has_options = client._handle:attempt(name, arguments)
    if not request then return result, err end
  else
    check_call(client, name, arguments, level + 1)
    local admit = client._driver.admit
    if admit then admit(level + 1) end
    request, deadline, has_options = client:request(name, arguments)
    if not request then return nil, deadline end
  end
  local call_options, refusal = client._options.defaults, nil
  if has_options then call_options, refusal = client._options:of(arguments) end
  if not call_options then return nil, refusal end
  return Call.carry(client, request, deadline, call_options, client._driver, err)
end

local perform = Client.perform

--- Makes a call and waits until there is an answer or its deadline has passed. Each endpoint also
-- has a method of its own: `client:cancel_order(arguments)`, `client:get_order(arguments)`. In
-- OpenResty only the calling light thread waits.
-- @tparam string name the endpoint's: `"cancel_order"`, `"get_order"`
-- @tparam table arguments the endpoint's fields, and any options, which override the client's
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise on an unknown name, a closed client, or arguments that are not a table; Ctrl-C in a
--   callback
-- @usage local result, err = client:call("cancel_order", { order_uuid = uuid, timeout = 5 })
-- @see submit
function Client:call(name, arguments)
  check_self(self, "call", 2)
  check_table(arguments, "arguments", 2)
  check_endpoint(name, 2)
  local result, err = perform(self, name, arguments, 2)
  return result, err
end

for _, name in ipairs(core.endpoints) do
  Client[name] = function(self, arguments)
    local result, err = perform(self, name, arguments, 2)
    return result, err
  end
end

--- Returns what a call would send, without sending it. No token is needed, and no token or
-- `headers` function is called.
-- @tparam string name as for `call`
-- @tparam table arguments as for `call`
-- @treturn[1] crux.dry_run `method`, `url`, `headers` (by their names on the wire) and `body`;
--   tokens and the values of the option `headers` are `[redacted]`. Its `tostring` is a command
--   that begins with `curl -q` and sends the same request, with `$CRUX_TOKEN` in place of the token
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise on an unknown name, a closed client, or arguments that are not a table
-- @usage print(client:dry_run("get_order", { order_uuid = uuid }).url)
function Client:dry_run(name, arguments)
  check_open(self, "dry_run", 2)
  check_table(arguments, "arguments", 2)
  check_endpoint(name, 2)
  local request, err = self._handle:prepare(name, arguments)
  if not request then return nil, err end
  return setmetatable(request:dry_run(), curl)
end

-- --- orders ---

--- Iterates over the orders that a filter finds, each once, reading page after page with
-- `list_orders`. The first page is asked for at the first turn. On failure, an invalid filter
-- included, the last turn gets `false` and the err.
-- @tparam[opt] table filter the fields of `list_orders` but `start` and `limit`, any options, which
--   override the client's, and `page`: how many orders to ask for at once, 3 to 10000, or 50
-- @treturn function an iterator
-- @raise on a closed client, or a filter that is not a table
-- @usage for order, err in client:orders{ line_item_designation = "Cancelled" } do
--   if not order then error(tostring(err)) end
--   print(order.uuid)
-- end
-- @see crux.cancellation
function Client:orders(filter)
  check_open(self, "orders", 2)
  if filter ~= nil then check_table(filter, "fields", 2) end
  return orders(self, filter or {})
end

--- Waits for the suppliers: reads an order from time to time until nothing of it is open. Errors
-- that are retryable do not end the wait. A supplier's refusal leaves no trace in the order, which
-- stays open. In OpenResty only the calling light thread waits.
-- @tparam table arguments `order_uuid`; `skus`, of which the lines alone are waited for;
--   `timeout`: seconds for the whole wait, 3600 if left out, more than a day if need be;
--   `interval`: seconds between two reads, 30 if left out; any other options, for each read
-- @treturn[1] table cancellation what `crux.cancellation` returns; its `state` is not `"open"`
-- @treturn[2] nil
-- @treturn[2] table err of kind `timeout` at the end; `err.cancellation` is the last state seen
-- @raise on a closed client, or arguments that are not a table
-- @usage local shown, err = client:wait_cancelled{ order_uuid = uuid, timeout = 86400 }
-- @see crux.cancellation
function Client:wait_cancelled(arguments)
  check_open(self, "wait_cancelled", 2)
  check_table(arguments, "arguments", 2)
  local driver = self._driver
  if driver.admit then driver.admit(2) end
  local shown, err = wait(self, arguments, driver, self._options.shared.timeout)
  return shown, err
end

-- --- calls that do not block ---

--- Makes a call that has not begun.
-- @tparam string name an endpoint's
-- @tparam table arguments
-- @treturn[1] table call, for `crux.call`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @local
function Client:prepare(name, arguments)
  local request, deadline, has_options = self:request(name, arguments)
  if not request then return nil, deadline end
  local call_options, refusal = self._options.defaults, nil
  if has_options then call_options, refusal = self._options:of(arguments) end
  if not call_options then return nil, refusal end
  return Call.new(request, deadline, call_options)
end

--- Makes a scheduler for calls of this client, which `close` closes too.
-- @tparam[opt] table class
-- @treturn crux.scheduler
-- @local
function Client:new_scheduler(class)
  local scheduler = Scheduler.new(self, self._driver, class)
  self._schedulers[scheduler] = true
  return scheduler
end

--- Returns the client's own scheduler. A client that only blocks has one for its logins alone.
-- @treturn crux.scheduler
-- @local
function Client:own_scheduler()
  local scheduler = self._scheduler or self:new_scheduler(self._driver.scheduler)
  self._scheduler = scheduler
  return scheduler
end

local function scheduler_of(client, name)
  check_open(client, name, 3)
  return client:own_scheduler()
end

--- Starts a call and returns at once. Neither this nor `poll`, `step` or `abort` ever waits for a
-- name look-up, a handshake or a server.
-- @tparam string name as for `call`
-- @tparam table arguments as for `call`
-- @treturn[1] crux.pending
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
-- @raise on an unknown name, a closed client, or arguments that are not a table; Ctrl-C in a
--   callback
-- @usage local pending = assert(client:submit("cancel_order", { order_uuid = uuid }))
-- local done, result, err = pending:wait(5)
-- @see crux.pending
function Client:submit(name, arguments)
  local scheduler = type(self) == "table" and self._scheduler or scheduler_of(self, "submit")
  if type(arguments) ~= "table" then check_table(arguments, "arguments", 2) end
  if not ENDPOINTS[name] then check_endpoint(name, 2) end
  local call, err = self:prepare(name, arguments)
  if not call then return nil, err end
  return Pending.new(scheduler, call, false, self._driver.pending)
end

--- Starts due retries and collects finished calls, without blocking. Call it when `pollfd` is
-- readable or `timeout` has passed, until it returns nil.
-- @treturn ?crux.pending a done call that was not returned before
-- @raise on a closed client; Ctrl-C in a callback
-- @usage local pending = client:step()
-- while pending do
--   print(pending:poll())
--   pending = client:step()
-- end
function Client:step()
  local scheduler = type(self) == "table" and self._scheduler or scheduler_of(self, "step")
  return scheduler:step()
end

--- Returns how many calls are submitted and not done.
-- @treturn number 0 after `close`
-- @usage print(client:in_flight() .. " calls are in flight")
-- @see submit
function Client:in_flight()
  check_self(self, "in_flight", 2)
  return self._scheduler and self._scheduler:in_flight() or 0
end

--- Returns a descriptor that is readable while `step` has something to do. It stays the same until
-- `close`; a forked child has another.
-- @treturn number
-- @raise on a closed client
-- @usage cqueues.poll(client) -- uses pollfd, events and timeout
-- @see step
function Client:pollfd() return scheduler_of(self, "pollfd"):fd() end

--- Returns what to watch `pollfd` for.
-- @treturn string `"r"`: readable
-- @raise on a closed client
-- @see pollfd
function Client:events() return scheduler_of(self, "events") and "r" end

--- Returns when `step` is next due even if `pollfd` stays silent.
-- @treturn ?number seconds, 0 or more; nil if no call pauses
-- @raise on a closed client
-- @see pollfd
function Client:timeout() return scheduler_of(self, "timeout"):timeout() end

--- Returns the clock that pauses are measured on.
-- @treturn function which returns seconds
-- @local
function Client:clock() return self._driver.now end

--- Returns how the calls of this client wait, and its clock; see `make`.
-- @treturn table driver
-- @local
function Client:driver() return self._driver end

--- Returns the seconds that a call takes at most, unless it says otherwise.
-- @treturn number
-- @local
function Client:time_limit() return self._options.shared.timeout end

--- Makes many calls of one endpoint, a few at a time, and waits for all of them. The service's
-- pauses and outages are waited for. An error in one of the functions is raised again once nothing
-- is in flight, and a Ctrl-C once what is in flight was aborted; the report holds what was sent.
-- @tparam string name the endpoint's
-- @tparam table|function items a list of arguments, or an iterator function
-- @tparam[opt] table options see [Options of a batch](#options-of-a-batch)
-- @treturn[1] table report
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise on an unknown name, a closed client, or items that are neither a list nor a function; what
--   a function raises
-- @usage local report = client:batch("get_order", { { order_uuid = uuid } }, { rate = 10 })
-- print(report.counts.accepted)
-- @see crux.batch.run
function Client:batch(name, items, options)
  check_open(self, "batch", 2)
  check_endpoint(name, 2)
  local report, err = batch.run(self, name, "batch", items, options, 2)
  return report, err
end

--- Cancels many orders: `client:batch("cancel_order", items, options)`.
-- @tparam table|function items a list of arguments of `cancel_order`, or an iterator function
-- @tparam[opt] table options see [Options of a batch](#options-of-a-batch)
-- @treturn[1] table report
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`: the options
-- @raise on a closed client, or items that are neither a list nor a function; what a function
--   raises
-- @usage local report = client:cancel_orders({ { order_uuid = uuid } }, { concurrency = 4 })
-- print(report.counts.accepted)
-- @see batch
function Client:cancel_orders(items, options)
  check_open(self, "cancel_orders", 2)
  local report, err = batch.run(self, "cancel_order", "cancel_orders", items, options, 2)
  return report, err
end

--- Returns whether `close` was called.
-- @treturn boolean
-- @local
function Client:is_closed() return self._closed end

--- Closes the client: each of its calls is done from now on, and all methods but `in_flight` raise.
-- Calling it is optional, and calling it again does nothing. Lua 5.4 calls it at the end of the
-- scope of a `<close>` variable.
-- @usage client:close()
function Client:close()
  check_self(self, "close", 2)
  self._closed, self._is_direct = true, false
  self._handle:close()
  local schedulers = self._schedulers
  self._scheduler, self._schedulers = false, {}
  for scheduler in next, schedulers do scheduler:close() end
end

Client.__close = Client.close

function Client:__tostring() return self._handle:describe() end

return Client
