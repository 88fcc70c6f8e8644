--- crux sandbox: a local server that behaves like the service.
-- @module crux.cli.commands.sandbox
local exit = require "crux.cli.exit"

local command = {
  summary = "run a local server that behaves like the service",
  description = "Runs a local server that behaves like the service. It needs lua5.4 with "
    .. "cqueues and luaossl. crux sandbox --help lists the server's own options.",
}

-- The server's program parses its own options, --help among them.
function command.configure(parser)
  parser:handle_options(false)
  parser:argument("options", "options of the server"):args "*"
end

-- The folder on package.path from which this module came.
local function root()
  local source = debug.getinfo(1, "S").source
  return source:match("^@(.*)crux/cli/commands/sandbox%.lua$") or "./"
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- The server is a process of its own: the command may run under any Lua.
local PROGRAM = [[
package.path = arg[1] .. "?.lua;" .. package.path
table.remove(arg, 1)
require "crux.sandbox.program"(arg, {
  usage = "crux sandbox OPTION...",
  hints = function(order_uuid) return { "crux cancel " .. order_uuid } end,
})]]

-- `status`, `how`, `code`: what os.execute returns; Lua 5.1 returns what wait(2) gives.
local function code_of(status, how, code)
  if type(status) == "number" then
    if status % 256 > 0 then return exit.by_signal(status % 128) end
    return status / 256
  end
  return how == "signal" and exit.by_signal(code) or code or exit.OK
end

function command.run(arguments)
  -- the program is all in -e; the script behind it is empty
  local words = { "exec lua5.4 -e", quoted(PROGRAM), "/dev/null", quoted(root()) }
  for _, option in ipairs(arguments.options) do words[#words + 1] = quoted(option) end
  return code_of(os.execute(table.concat(words, " ")))
end

return command
