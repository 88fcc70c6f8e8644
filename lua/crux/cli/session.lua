--- A client as the command uses it: whom it reaches, as whom, and calls that a signal ends.
-- @module crux.cli.session
local crux = require "crux"
local credentials = require "crux.cli.credentials"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local orders = require "crux.orders"
local system = require "crux.os"
local wait = require "crux.wait"

local session = {}

local Session = {}
Session.__index = Session

-- The library's default.
local CONNECTIONS = 32

-- How often a waiting call looks whether a signal has come, in seconds.
local SLICE = 0.1

local function variable(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

--- The service that the flags and the environment name.
-- @tparam table arguments of the command line
-- @treturn string base_url
function session.base_url(arguments)
  if arguments.production then return crux.PRODUCTION end
  return arguments.base_url or variable "CRUX_BASE_URL" or crux.SANDBOX
end

--- Whose token is used, as far as it is known.
-- @tparam string base_url
-- @treturn table `name`: of the user, or nil; `source`: where the token comes from; `expires`:
--   seconds since the epoch, or nil; `missing`: why there is none, or nil
function session.account(base_url)
  if variable "CRUX_TOKEN" then return { source = "CRUX_TOKEN" } end
  if variable "CRUX_USERNAME" and variable "CRUX_PASSWORD" then
    return { name = variable "CRUX_USERNAME", source = "CRUX_USERNAME" }
  end
  local kept, why = credentials.read(base_url)
  if not kept then return { source = "crux login", missing = why } end
  return {
    name = kept.username, source = "crux login", expires = kept.issued + credentials.LIFETIME,
  }
end

-- Called before each attempt, and again after a 401: another `crux login` may have been made by
-- then.
local function kept_token(base_url)
  return function(refused)
    local kept, why
    if refused then
      kept, why = credentials.read_newer(base_url, refused)
    else
      kept, why = credentials.read(base_url)
    end
    if kept then return kept.token end
    return nil, why
  end
end

-- They come from the environment alone.
local SECRETS = { token = true, username = true, password = true }

--- Words an error of kind `invalid` of the library's for the command line.
function session.usage(err)
  local message, field = err.message, err.field
  if field and not SECRETS[field] and message:sub(1, #field) == field then
    message = flags.name(field) .. message:sub(#field + 1)
  end
  exit.fail(exit.USAGE, message)
end

--- Makes a client. Wrong options end the command.
-- @tparam table arguments of the command line
-- @tparam[opt] table chosen `base_url` and `api`, where a journal names them; `tokenless`: true for
--   a login and a dry run; `token_cache`: the client's option
-- @treturn table `client`, `base_url`, `api`, `account`, `options`
function session.open(arguments, chosen)
  chosen = chosen or {}
  local base_url = chosen.base_url or session.base_url(arguments)
  local options = flags.options(arguments)
  options.base_url, options.api = base_url, chosen.api or options.api
  options.token_cache = chosen.token_cache
  -- beyond it, requests would wait in a queue, with their time running
  options.max_connections = math.min(math.max(arguments.concurrency or 0, CONNECTIONS), 65535)
  local account = session.account(base_url)
  if chosen.tokenless then
    -- also where the environment has half of a name and password
    options.token = function() return nil, "none is needed" end
  elseif account.source == "crux login" then
    options.token = kept_token(base_url)
  end
  local copy = {}
  for name, value in pairs(options) do copy[name] = value end
  local client, err = crux.new(copy)
  if not client then session.usage(err) end
  system.catch_signals()
  return setmetatable({
    client = client, base_url = base_url, api = options.api or "v1", account = account,
    options = options,
  }, Session)
end

-- The number of the signal that ends what waits, or nil. A call that changes something is waited
-- for until the second.
local function ends(is_safe)
  local count, _, number = system.signals()
  return count >= (is_safe and 1 or 2) and number or nil
end

--- Makes a call. A signal aborts it: at once where it changes nothing, else the second one.
-- @tparam string name the endpoint's
-- @tparam table arguments
-- @tparam[opt] table more `is_safe`: it changes nothing; `on_wait()`: called when the first signal
--   has come and the call is waited for
-- @treturn[1] crux.result
-- @treturn[2] nil
-- @treturn[2] crux.err
function Session:call(name, arguments, more)
  more = more or {}
  local pending, err = self.client:submit(name, arguments)
  if not pending then return nil, err end
  local told = false
  while true do
    local done, result, failure = pending:wait(SLICE)
    if done then return result, failure end
    if ends(more.is_safe) then pending:abort() end
    if not told and more.on_wait and ends(true) then
      told = true
      more.on_wait()
    end
  end
end

--- Ends the command if a signal has come, or stdout has failed.
-- @tparam table output
function session.check(output)
  local count, _, number = system.signals()
  if count > 0 then exit.fail(exit.by_signal(number)) end
  if output.broken then exit.fail(exit.by_signal(2)) end
end

-- What modules of the library take for a client: its reads end the command after a signal.
local function reader(self, output)
  local function read(name)
    return function(_, arguments)
      local result, err = self:call(name, arguments, { is_safe = true })
      session.check(output)
      return result, err
    end
  end
  return { list_orders = read "list_orders", get_order = read "get_order" }
end

--- Iterates over orders, as the client's `orders`. A signal ends the command.
function Session:orders(filter, output) return orders(reader(self, output), filter) end

--- Reads an order. A signal ends the command.
function Session:get_order(uuid, output)
  return reader(self, output):get_order{ order_uuid = uuid }
end

--- Waits for the suppliers, as the client's `wait_cancelled`. A signal ends the command.
function Session:wait_cancelled(arguments, output)
  local core = require "crux.core"
  local clock = { now = core.now }
  function clock.sleep(seconds)
    local deadline = core.now() + seconds
    repeat
      session.check(output)
      core.sleep(math.max(0, math.min(SLICE, deadline - core.now())))
    until core.now() >= deadline
  end
  return wait(reader(self, output), arguments, clock, tonumber(self.options.timeout) or 30)
end

return session
