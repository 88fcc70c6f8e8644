--- crux completion: prints a script that completes the command line in a shell.
-- @module crux.cli.commands.completion
local exit = require "crux.cli.exit"
local output = require "crux.cli.output"

local command = {
  summary = "print a completion script for a shell",
  description = "Prints a script for the shell. For bash: source <(crux completion bash).",
}

function command.configure(parser)
  parser:argument("shell", "which shell"):choices{ "bash", "zsh", "fish" }
end

function command.run(arguments, root)
  local out = output.new{}
  out:raw(root["get_" .. arguments.shell .. "_complete"](root))
  return out.broken and exit.by_signal(2) or exit.OK
end

return command
