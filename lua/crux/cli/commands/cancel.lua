--- crux cancel: cancels orders. One by a call; more than one, or a file's, by a bulk run.
-- @module crux.cli.commands.cancel
local Journal = require "crux.cli.journal"
local ask = require "crux.cli.ask"
local change = require "crux.cli.change"
local credentials = require "crux.cli.credentials"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local input = require "crux.cli.input"
local output = require "crux.cli.output"
local read = require "crux.cli.read"
local run = require "crux.cli.run"
local session = require "crux.cli.session"
local system = require "crux.os"

local command = {
  summary = "cancel orders, or some of their SKUs",
  description = "Asks the suppliers of orders to cancel them. More than one order, or those of "
    .. "a file, are a bulk run: what is sent is recorded in a journal before it is sent, so "
    .. "that a run that was killed can be continued, and no order is sent twice. A file is CSV "
    .. "with a first line that names the columns (order_uuid; optional supplier_uuid, sku_id, "
    .. "quantity, price, expected_sku_cost), or JSON Lines, or has a UUID in each line. Rows of "
    .. "one order are one request.",
}

function command.configure(parser)
  parser:argument("order_uuid", "the orders"):argname "ORDER_UUID":args "*"
  parser:option("--sku", "cancel this SKU of each order instead of the whole; can be repeated")
    :argname "<supplier[:sku[:quantity]]>":count "*"
  parser:option("-f --file", "read the orders from a file; - is stdin"):argname "<file>"
  parser:flag("--ignore-columns", "leave out columns that are not known")
  parser:option("--journal", "where the journal is written (default FILE.journal; for orders of "
    .. "the command line, a file in $XDG_STATE_HOME/crux)"):argname "<path>"
  parser:flag("-n --dry-run", "print each request as a curl command, and send nothing")
  parser:flag("-y --yes", "go on without a question")
  parser:option("--max", "refuse more than so many orders"):argname "<n>":convert(flags.count)
  run.configure(parser)
  flags.service(parser)
end

-- --- SKUs of the command line ---

local function sku_of(text)
  local supplier, rest = text:match("^([^:]*):?(.*)$")
  local id, quantity = rest:match("^([^:]*):?(.*)$")
  return {
    supplier_uuid = supplier, sku_id = id ~= "" and id or nil,
    quantity = quantity ~= "" and quantity or nil,
  }
end

local function skus_of(arguments)
  if #arguments.sku == 0 then return nil end
  local skus = {}
  for i, text in ipairs(arguments.sku) do skus[i] = sku_of(text) end
  return skus
end

-- --- the input of a bulk run ---

local function given_orders(arguments)
  local list = {}
  for i, uuid in ipairs(arguments.order_uuid) do
    list[i] = { order_uuid = uuid, skus = skus_of(arguments) }
  end
  return list
end

local function dry_run(orders, opened, out)
  for order in input.each(orders) do
    local dry = opened.client:dry_run("cancel_order", order)
    out:json("dry_run", {
      { "order_uuid", order.order_uuid }, { "method", dry.method }, { "url", dry.url },
      { "body", dry.body },
    })
    out:text(tostring(dry))
    session.check(out)
  end
  out:json("summary", { { "orders", orders.count } })
  return exit.OK
end

-- --- the journal ---

local function exists(path)
  exit.fail(exit.USAGE, path .. ": the journal exists: nothing was sent",
    "crux resume " .. run.quoted(path) .. "  # continues that run")
end

-- Where the journal goes. One that exists ends the command before anything is read.
local function journal_path(arguments)
  local path = arguments.journal
  if not path and arguments.file == "-" then
    exit.fail(exit.USAGE, "expected --journal PATH, since the orders come from stdin")
  end
  if not path and arguments.file then path = arguments.file .. ".journal" end
  if path and system.stat(path) then exists(path) end
  if path then return path end
  local base = ("%s/cancel-%s"):format(credentials.make_directory(), os.date "%Y%m%dT%H%M%S")
  local number = 0
  repeat
    path = base .. (number > 0 and "-" .. number or "") .. ".journal"
    number = number + 1
  until not system.stat(path)
  return path
end

local function make_journal(path, opened, orders)
  local journal, message, why = Journal.create(path, {
    base_url = opened.base_url, api = opened.api, account = opened.account.name,
  }, input.each(orders))
  input.close(orders)
  if journal then return journal end
  if why == "exists" then exists(path) end
  exit.fail(exit.USAGE, message .. "; nothing was sent")
end

local function cancel_many(arguments)
  local out = output.new(arguments)
  local path = not arguments.dry_run and journal_path(arguments)
  local opened = session.open(arguments, { tokenless = arguments.dry_run })
  if path and opened.account.missing then
    exit.fail(exit.AUTH, opened.account.missing, "run crux login, or set CRUX_TOKEN")
  end
  local orders = read(arguments, opened, out, given_orders(arguments))
  if arguments.dry_run then return dry_run(orders, opened, out) end
  ask.show(out, {
    base_url = opened.base_url, account = opened.account, count = orders.count,
    first = orders.first, journal = path,
  }, not arguments.yes)
  ask.warn_of_expiry(out, opened.account, orders.count, run.concurrency(arguments), arguments.rate)
  if not arguments.yes then ask.confirm(("Cancel %d orders?"):format(orders.count)) end
  return run.send(opened, out, make_journal(path, opened, orders), arguments)
end

function command.run(arguments)
  local count = #arguments.order_uuid
  if (count > 0) == (arguments.file ~= nil) then
    exit.fail(exit.USAGE, "expected either ORDER_UUID or --file, found "
      .. (count > 0 and "both" or "neither"))
  end
  if arguments.file and #arguments.sku > 0 then
    exit.fail(exit.USAGE, "expected SKUs in the file, found --sku beside --file")
  end
  if count == 1 and system.stat(arguments.order_uuid[1]) then
    exit.fail(exit.USAGE, "expected ORDER_UUID, found the name of a file",
      "crux cancel --file " .. run.quoted(arguments.order_uuid[1]))
  end
  if count == 1 and not arguments.journal then
    return change(arguments, "cancel_order", given_orders(arguments)[1])
  end
  return cancel_many(arguments)
end

return command
