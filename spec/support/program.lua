--- Runs a Lua script as a user would, in a process of its own.
-- @module spec.support.program
local LUA = os.getenv("TEST_LUA") or "lua5.4"

local program = { lua = LUA }

function program.quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

function program.read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

function program.write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- Settings that would reach another service, or another build.
local UNSET = "env -u CRUX_TOKEN -u CRUX_USERNAME -u CRUX_PASSWORD -u CRUX_BASE_URL "
  .. "-u CRUX_CA_FILE -u https_proxy -u HTTPS_PROXY -u all_proxy -u ALL_PROXY "
  .. "-u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u LUA -u LUA_PC -u VARIANT -u OUT "
  .. "-u CURL -u CURL_CFLAGS -u CURL_LIBS -u CFLAGS -u WERROR -u SPECS -u BUSTED "

--- Runs a command.
-- @tparam table environment variables to set
-- @tparam string command
-- @treturn number its exit status
-- @treturn string what it printed to stdout
-- @treturn string what it printed to stderr
function program.command(environment, command)
  local errors = os.tmpname()
  local settings = {}
  for name, value in pairs(environment) do
    settings[#settings + 1] = name .. "=" .. program.quoted(value)
  end
  local line = "%s%s %s 2> %s </dev/null; echo ended $?"
  local output = assert(io.popen(line:format(UNSET, table.concat(settings, " "), command, errors)))
  local text = output:read("*a")
  output:close()
  local stderr = program.read(errors)
  os.remove(errors)
  local stdout, status = text:match("^(.*)ended (%d+)\n$")
  return tonumber(status), stdout, stderr
end

--- The same for a Lua script and its arguments, with the Lua under test.
function program.run(environment, script)
  return program.command(environment, LUA .. " " .. script)
end

return program
