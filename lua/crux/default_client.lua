--- Adds to a module the functions that make one call, such as `crux.cancel_order`: one for each
-- endpoint. They share a default client, and so its connections, as long as the environment stays
-- the same.
-- @module crux.default_client
local Client = require "crux.client"
local core = require "crux.core"
local environment = require "crux.environment"

local error, ipairs, next, rawequal, rawget, type = error, ipairs, next, rawequal, rawget, type
local format = string.format

--- Adds the functions to a module.
-- @tparam table module
-- @tparam[opt] table driver as for `Client.make`
-- @see crux.client:call
return function(module, driver)
  local default, default_env = nil, {}

  -- The default client: another one once the environment has changed. A malformed variable does not
  -- fail a call whose own arguments replace it: that call gets a client without it.
  local function client_for(arguments)
    local env = environment.options()
    local is_same, own = default ~= nil, {}
    for name in next, environment.names do
      own[name] = rawget(arguments, name)
      is_same = is_same and default_env[name] == env[name]
    end
    if is_same then return default end
    local client, err = Client.make({}, env, driver)
    if client then
      default, default_env = client, env
      return client
    end
    local rest = environment.complement(env, own)
    if rest[err.field] ~= nil then return nil, err end
    return Client.make({}, rest, driver)
  end

  for _, name in ipairs(core.endpoints) do
    module[name] = function(arguments)
      if rawequal(arguments, module) then
        error(format("expected crux.%s{...}, found crux:%s{...}: write a dot", name, name), 2)
      end
      if type(arguments) ~= "table" then
        error(format("expected a table of arguments, found %s",
          arguments == nil and "nothing" or type(arguments)), 2)
      end
      local client, err = client_for(arguments)
      if not client then return nil, err end
      local result
      result, err = Client.perform(client, name, arguments, 2)
      return result, err
    end
  end
end
