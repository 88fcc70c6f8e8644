--- crux status: what orders say about their cancellation; waits for it on request.
-- @module crux.cli.commands.status
local cancellation = require "crux.cancellation"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local order = require "crux.cli.order"
local output = require "crux.cli.output"
local session = require "crux.cli.session"

local command = {
  summary = "tell whether orders are cancelled",
  description = "Reads orders, and tells what each says about its cancellation: cancelled; "
    .. "open, not cancelled but still may be; partial, cancelled in part, and nothing is open; "
    .. "closed, shipped or rejected. Ends with 0 if all are cancelled, else with 1.",
}

local WIDTHS = { 36, 9, 0 }

function command.configure(parser)
  parser:argument("order_uuid", "the orders"):argname "ORDER_UUID":args "+"
  parser:flag("--wait", "read each order again until it is no longer open")
  parser:option("--wait-timeout", "end the wait for an order after so long (default 3600)")
    :argname "<seconds>":convert(flags.positive)
  parser:option("--interval", "the pause before an order is read again (default 30)")
    :argname "<seconds>":convert(flags.positive)
  flags.service(parser)
end

-- What the order says, or nil and an error.
local function look(opened, uuid, arguments, out)
  local found, err = order.read(opened, uuid, out)
  if not found then return nil, err end
  local shown
  shown, err = cancellation(found)
  if not shown or shown.state ~= "open" or not arguments.wait then return shown, err end
  shown, err = opened:wait_cancelled({
    order_uuid = uuid, timeout = arguments.wait_timeout, interval = arguments.interval,
  }, out)
  if err and err.cancellation then return err.cancellation end
  return shown, err
end

local function print_state(shown, uuid, out)
  local cancelled = 0
  for _, item in ipairs(shown.items) do
    if item.state == "cancelled" then cancelled = cancelled + 1 end
  end
  out:json("status", { { "order_uuid", uuid }, { "state", shown.state }, { "items", shown.items } })
  local told = ("%d of %d lines cancelled"):format(cancelled, #shown.items)
  out:row({ uuid, shown.state, told }, WIDTHS)
end

function command.run(arguments)
  local out = output.new(arguments)
  local opened = session.open(arguments)
  local all_cancelled, counts = true, {}
  for _, uuid in ipairs(arguments.order_uuid) do
    local shown, err = look(opened, uuid, arguments, out)
    if shown then print_state(shown, uuid, out) else order.failed(err, uuid, out) end
    local state = shown and shown.state or "failed"
    counts[state] = (counts[state] or 0) + 1
    all_cancelled = all_cancelled and state == "cancelled"
    session.check(out)
  end
  out:json("summary", { { "counts", counts } })
  session.check(out)
  return all_cancelled and exit.OK or exit.FAILED
end

return command
