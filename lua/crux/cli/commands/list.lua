--- crux list: lists orders, page after page.
-- @module crux.cli.commands.list
local cancellation = require "crux.cancellation"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local order = require "crux.cli.order"
local output = require "crux.cli.output"
local session = require "crux.cli.session"

local command = {
  summary = "list orders",
  description = "Lists orders, each once, page after page. The filters are the service's own.",
}

-- The pager's own.
local WITHOUT = { start = true, limit = true }
local WIDTHS = { 36, 9, 27, 0 }

function command.configure(parser)
  flags.fields(parser, "list_orders", WITHOUT)
  parser:option("--max", "end after so many orders"):argname "<n>":convert(flags.count)
  parser:option("--page", "ask for so many orders at once, 3 to 10000 (default 50)"):argname "<n>"
    :convert(tonumber)
  flags.service(parser)
end

local function print_order(found, out)
  local head = order.head(found)
  local shown = cancellation(found)
  local state = shown and shown.state
  out:json("order", { { "order_uuid", head.uuid }, { "state", state }, { "order", found } })
  out:row({ head.uuid, state, head.date, head.po }, WIDTHS)
end

function command.run(arguments)
  local out = output.new(arguments)
  local opened = session.open(arguments)
  local filter = flags.values(arguments, "list_orders", WITHOUT)
  filter.page = arguments.page
  local count = 0
  for found, err in opened:orders(filter, out) do
    if not found then
      if err.kind == "invalid" then session.usage(err) end
      order.failed(err, "list", out)
      return exit.FAILED
    end
    if count == 0 then out:row({ "order", "state", "created", "PO" }, WIDTHS) end
    print_order(found, out)
    count = count + 1
    session.check(out)
    if count == arguments.max then break end
  end
  out:json("summary", { { "read", count } })
  session.check(out)
  return exit.OK
end

return command
