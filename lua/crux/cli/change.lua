--- One call that changes something: makes it, prints what came of it, and finds the exit code.
-- @module crux.cli.change
local exit = require "crux.cli.exit"
local output = require "crux.cli.output"
local session = require "crux.cli.session"
local system = require "crux.os"
local words = require "crux.cli.words"

local WIDTHS = { 36, 8, 3, 0 }

local ADVICE = {
  unknown = "it may have been carried out: look before you repeat it, with crux status",
  not_sent = "nothing was sent: repeating it is safe",
}

-- A wrong argument is told with the name that the command gives it.
local function usage(err)
  local message = err.message:gsub("^order_item_uuid:", "ITEM_UUID:")
    :gsub("^order_uuid:", "ORDER_UUID:")
    :gsub("^skus", "--sku: skus")
  exit.fail(exit.USAGE, message)
end

local function print_result(out, field, uuid, result, err)
  local answer = result or err
  local hint = err and words.hint(err)
  out:json("result", {
    { field, uuid }, { "outcome", answer.outcome }, { "status", answer.status },
    { "kind", err and err.kind }, { "message", err and words.message(err) }, { "hint", hint },
    { "detail", err and err.detail }, { "fields", err and err.fields },
  })
  local told = result and "received and passed on; the supplier confirms or rejects later"
    or words.message(err)
  out:row({ uuid, answer.outcome, answer.status, told }, WIDTHS)
  if err then out:failure(err, not words.hint(err) and ADVICE[err.outcome] or nil) end
end

-- Prints the request instead of sending it.
local function dry_run(opened, out, name, values)
  local dry, err = opened.client:dry_run(name, values)
  if not dry then usage(err) end
  if out.is_json then
    out:json("dry_run", { { "method", dry.method }, { "url", dry.url }, { "body", dry.body } })
  else
    out:text(tostring(dry))
  end
  return exit.OK
end

--- Makes the call.
-- @tparam table arguments of the command line
-- @tparam string name the endpoint's
-- @tparam table values its arguments
-- @treturn number the exit code
return function(arguments, name, values)
  local out = output.new(arguments)
  local opened = session.open(arguments, { tokenless = arguments.dry_run })
  if arguments.dry_run then return dry_run(opened, out, name, values) end
  local result, err = opened:call(name, values, {
    on_wait = function() out:warn("crux: waiting for the answer; once more to give up") end,
  })
  if err and err.kind == "invalid" then
    if values[err.field] or err.field and err.field:find("^skus") then usage(err) end
    session.usage(err)
  end
  local field = values.order_uuid and "order_uuid" or "order_item_uuid"
  print_result(out, field, values[field], result, err)
  local code = err and exit.of_error(err) or exit.OK
  local count, _, number = system.signals()
  if count > 0 or out.broken then code = exit.by_signal(number or 2) end
  out:json("summary", {
    { "counts", { [(result or err).outcome] = 1 } }, { "exit_code", code },
  })
  return code
end
