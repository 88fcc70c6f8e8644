--- The command `crux`. A program of its own: unlike the library it prints, reads the environment,
-- handles signals, and ends with an exit code.
-- @module crux.cli
local exit = require "crux.cli.exit"

-- Where stdin, stdout or stderr is closed, the next file or socket would take its number, and what
-- is printed would go there. These take the numbers first; writing to them fails.
local HELD = { io.open("/dev/null", "r"), io.open("/dev/null", "r"), io.open("/dev/null", "r") }

-- For a failure that is a table, the same table; for a crash, its place.
local function handler(failure)
  if type(failure) == "table" then return failure end
  -- the interpreter's own handler of SIGINT, until that of crux.os is there
  if tostring(failure):find("interrupted!$") then return { exit_code = exit.by_signal(2) } end
  return debug.traceback(tostring(failure), 2)
end

local function run(arguments)
  local parser = require "crux.cli.parser"
  local root, commands = parser.new()
  local parsed = root:parse(arguments)
  return commands[parsed.command].run(parsed, root)
end

local function finish(failure)
  local stderr = io.stderr
  if type(failure) ~= "table" or not failure.exit_code then
    stderr:write("crux: a fault of this program, please report it:\n", tostring(failure), "\n")
    return exit.CRASH
  end
  if failure.message then stderr:write("crux: ", failure.message, "\n") end
  if failure.advice then stderr:write("  ", failure.advice, "\n") end
  if failure.text and not io.stdout:write(failure.text, "\n") then return exit.FAILED end
  return failure.exit_code
end

--- Runs the command.
-- @tparam table arguments a list of strings
-- @treturn number the exit code
return function(arguments)
  assert(#HELD == 3, "expected to open /dev/null, found that it cannot be")
  local ok, code = xpcall(function() return run(arguments) end, handler)
  if not ok then code = finish(code) end
  if not io.stdout:flush() and code == exit.OK then code = exit.FAILED end
  return code
end
