--- The orders that a command is given, by a file or by its arguments.
-- @module crux.cli.read
local exit = require "crux.cli.exit"
local input = require "crux.cli.input"
local output = require "crux.cli.output"
local session = require "crux.cli.session"

local function read_file(path, options)
  if path == "-" then return input.read(io.stdin, options) end
  local file, why = io.open(path, "rb")
  if not file then exit.fail(exit.USAGE, "expected a file of orders: " .. why) end
  local orders = input.read(file, options)
  file:close()
  return orders
end

--- Reads and checks all orders. Bad ones are told, and end the command.
-- @tparam table arguments of the command line: `file`, `ignore_columns`, `max`
-- @tparam table opened the session
-- @tparam table out
-- @tparam ?table given the orders of the command line, if there is no file
-- @treturn table for `crux.cli.input`
return function(arguments, opened, out, given)
  local name = arguments.file or "ORDER_UUID"
  local options = { client = opened.client, ignore = arguments.ignore_columns }
  function options.problem(line, message)
    out:warn(("crux: %s: %s"):format(line > 0 and name .. ":" .. line or name,
      output.printable(message)))
  end
  function options.remark(line, message)
    out:note(("crux: %s:%d: %s"):format(name, line, message))
  end
  function options.check() session.check(out) end
  local orders = arguments.file and read_file(arguments.file, options)
    or input.of(given, options)
  if orders.problems > 0 then
    exit.fail(exit.USAGE, ("found %d bad rows; nothing was sent"):format(orders.problems))
  end
  if arguments.max and orders.count > arguments.max then
    exit.fail(exit.USAGE, ("expected at most %d orders, found %d; nothing was sent"):format(
      arguments.max, orders.count))
  end
  return orders
end
