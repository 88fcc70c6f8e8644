--- The parser of the command line, made with lua-argparse.
-- @module crux.cli.parser
local exit = require "crux.cli.exit"

-- In the order of `crux --help`.
local NAMES = {
  "login", "cancel", "resume", "report", "reconcile", "status", "get", "list", "cancel-item",
  "confirm", "reject", "fleet", "sandbox", "completion",
}

local WIDTH = 78

local EXAMPLES = [[
For a file of orders:
   crux login
   crux cancel --file orders.csv      asks before it sends anything
   crux resume orders.csv.journal     after an interruption
   crux report orders.csv.journal]]

local parser = {}

-- lua-argparse would print and exit by itself.
local function add_help(element)
  element:add_help{
    "-h --help", description = "show this help and exit",
    action = function() error({ exit_code = exit.OK, text = element:get_help() }, 0) end,
  }
  element:help_max_width(WIDTH):usage_max_width(WIDTH):help_description_margin(26)
end

local function codes()
  local lines = { "Exit codes:" }
  for _, row in ipairs(exit.DOC) do lines[#lines + 1] = ("   %-15s %s"):format(row[1], row[2]) end
  lines[#lines + 1] = "Any other code is a failure."
  return table.concat(lines, "\n")
end

--- Makes the parser.
-- @treturn table the parser of lua-argparse
-- @treturn table by its name, the module of each command
function parser.new()
  local found, argparse = pcall(require, "argparse")
  if not found then
    exit.fail(exit.CRASH, "expected the Lua module argparse, found none",
      "install it: lua-argparse of Debian, or argparse of LuaRocks")
  end
  local root = argparse "crux"
    :description "Cancels and reads orders through CRUXconnect. A request is never sent twice."
    :epilog("crux COMMAND --help shows the options of a command. A token comes from $CRUX_TOKEN or "
      .. "from crux login.\n\n" .. EXAMPLES .. "\n\n" .. codes())
    :command_target "command"
  add_help(root)
  root:flag("--version", "print the version and exit"):action(function()
    error({ exit_code = exit.OK, text = "crux " .. require("crux")._VERSION }, 0)
  end)
  local commands = {}
  for _, name in ipairs(NAMES) do
    local module = require("crux.cli.commands." .. name:gsub("-", "_"))
    local command = root:command(name):summary(module.summary):description(module.description)
    add_help(command)
    module.configure(command)
    commands[name] = module
  end
  -- the handler gets the parser of the command at fault
  root.error = function(at, message)
    exit.fail(exit.USAGE, message, ("run: %s --help"):format(at:_get_fullname()))
  end
  return root, commands
end

return parser
