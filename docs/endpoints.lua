-- Writes a file for each of MODULES into DIRECTORY: the documentation of its endpoint functions, for LDoc. These
-- functions are made in a loop, so there is no source line that a comment could precede.
--
--     lua5.4 docs/endpoints.lua DIRECTORY        (make doc)
local core = require "crux.core"

local MODULES = {
  { "crux", "%s", "See the README for the fields and options." },
  { "crux.client", "Client:%s", "Options given here override the client's." },
  { "crux.resty", "%s", "Suspends the calling light thread only." },
  { "crux.core", "%s", "One attempt; `token` is a string, and the environment is not read.", new = true },
}

local TEXT = [[
--- Calls the endpoint `%s` and waits for the result. %s
-- @function %s
-- @tparam table arguments the endpoint's fields, and options
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise if the Lua API is misused, such as by an argument that is not a table

]]

local directory = assert(arg[1], "expected a directory, found none")
for _, module in ipairs(MODULES) do
  local file = assert(io.open(("%s/%s.lua"):format(directory, module[1]), "w"))
  file:write(module.new and "--- The C module: one attempt for each call." or "--- The endpoints of the service.",
    ("\n-- @%s %s\n\n"):format(module.new and "module" or "submodule", module[1]))
  for _, endpoint in ipairs(core.endpoints) do
    file:write(TEXT:format(endpoint, module[3], module[2]:format(endpoint)))
  end
  file:close()
end
