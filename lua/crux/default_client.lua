--- The single calls of a module, one for every endpoint. They share a client, and so its connections, until the
-- environment changes.
-- @module crux.default_client
local Client = require "crux.client"
local core = require "crux.core"
local environment = require "crux.environment"

local error, ipairs, next, rawequal, rawget, type = error, ipairs, next, rawequal, rawget, type
local format = string.format

--- Adds the single calls to a module.
-- @tparam table module
-- @tparam[opt] table host as for `Client.make`
return function(module, host)
  local shared, shared_said = nil, {}

  local function shared_client(arguments)
    local said = environment.options()
    local same = shared ~= nil
    for name in next, environment.names do
      -- what the call itself says wins, and is not to fail for what it overrides
      if rawget(arguments, name) ~= nil then said[name] = nil end
      same = same and shared_said[name] == said[name]
    end
    if same then return shared end
    local client, err = Client.make({}, said, host)
    if not client then return nil, err end
    shared, shared_said = client, said
    return client
  end

  for _, name in ipairs(core.endpoints) do
    module[name] = function(arguments)
      if rawequal(arguments, module) then
        error(format("expected crux.%s{...}, found crux:%s{...}: write a dot", name, name), 2)
      end
      if type(arguments) ~= "table" then
        error(format("expected a table of arguments, found %s", arguments == nil and "nothing" or type(arguments)), 2)
      end
      local client, err = shared_client(arguments)
      if not client then return nil, err end
      return client:call(name, arguments)
    end
  end
end
