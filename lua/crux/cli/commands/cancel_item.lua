--- crux cancel-item: asks the supplier of one line of an order to cancel it.
-- @module crux.cli.commands.cancel_item
local change = require "crux.cli.change"
local flags = require "crux.cli.flags"

local command = {
  summary = "cancel one line of an order",
  description = "Asks the supplier of a line of an order to cancel it. The line is named by its "
    .. "own UUID: crux get shows it. The service passes the request on; the supplier confirms "
    .. "or rejects it later.",
}

function command.configure(parser)
  parser:argument("item_uuid", "the line"):argname "ITEM_UUID"
  parser:flag("-n --dry-run", "print the request as a curl command, and send nothing")
  flags.service(parser)
end

function command.run(arguments)
  return change(arguments, "cancel_order_item", { order_item_uuid = arguments.item_uuid })
end

return command
