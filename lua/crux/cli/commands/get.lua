--- crux get: reads orders, and prints each with its lines.
-- @module crux.cli.commands.get
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local order = require "crux.cli.order"
local output = require "crux.cli.output"
local session = require "crux.cli.session"

local command = {
  summary = "print orders with their lines",
  description = "Reads orders, and prints each with its lines and their UUIDs. With --json, the "
    .. "order is printed as the service gives it.",
}

function command.configure(parser)
  parser:argument("order_uuid", "the orders"):argname "ORDER_UUID":args "+"
  flags.service(parser)
end

function command.run(arguments)
  local out = output.new(arguments)
  local opened = session.open(arguments)
  local failed, read = 0, 0
  for _, uuid in ipairs(arguments.order_uuid) do
    local found, err = order.read(opened, uuid, out)
    if found then
      read = read + 1
      out:json("order", { { "order_uuid", uuid }, { "order", found } })
      if not out.is_json then order.print(found, uuid, out) end
    else
      failed = failed + 1
      order.failed(err, uuid, out)
    end
  end
  out:json("summary", { { "read", read }, { "failed", failed } })
  session.check(out)
  return failed > 0 and exit.FAILED or exit.OK
end

return command
