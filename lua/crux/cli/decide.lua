--- What crux confirm and crux reject have in common: a supplier's decision on a cancellation.
-- @module crux.cli.decide
local change = require "crux.cli.change"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"

--- Makes the command.
-- @tparam string verb `"confirm"` or `"reject"`
-- @treturn table as each module of `crux.cli.commands`
return function(verb)
  local command = {
    summary = verb .. " a cancellation, as a supplier",
    description = ("As a supplier, %ss the cancellation that a retailer asked for, of an order or "
      .. "of one of its lines. Only the generation timp of the API has this."):format(verb),
  }

  function command.configure(parser)
    parser:argument("order_uuid", "the order"):argname "ORDER_UUID":args "?"
    parser:option("--item", "a line of an order, instead of the order"):argname "<uuid>"
    parser:flag("-n --dry-run", "print the request as a curl command, and send nothing")
    flags.service(parser, { api = "timp" })
  end

  function command.run(arguments)
    arguments.api = arguments.api or "timp"
    local order, item = arguments.order_uuid, arguments.item
    if (order == nil) == (item == nil) then
      exit.fail(exit.USAGE, "expected either ORDER_UUID or --item UUID, found "
        .. (order and "both" or "neither"))
    end
    if order then
      return change(arguments, verb .. "_order_cancellation", { order_uuid = order })
    end
    return change(arguments, verb .. "_item_cancellation", { order_item_uuid = item })
  end

  return command
end
