-- A batch of 500 orders through an outage, in a process of its own, with the clock on the wall:
-- after the first hundred orders a sandbox fails in the given way for so many seconds. Prints what
-- came of it, as JSON.
--     lua5.4 spec/support/outage.lua status=503 20
local cjson = require("cjson").new()
local crux = require "crux"
local process = require "spec.support.process"

local directives, seconds = arg[1], arg[2]
local ORDERS, BEFORE = 500, 100

local sandbox = process.sandbox{ orders = ORDERS, plain = true }
local sends, done, given = 0, 0, 0
local client = assert(crux.new{ token = sandbox.tokens.retailer, base_url = sandbox.base_url })

local ok, report = pcall(client.cancel_orders, client, function()
  -- nothing is in flight when the outage begins
  if given == BEFORE and done < BEFORE then return false end
  if given == BEFORE then sandbox:outage(("%s,seconds=%s"):format(directives, seconds)) end
  given = given + 1
  return sandbox.orders[given] and { order_uuid = sandbox.orders[given] }
end, {
  on_result = function(_, _, result, err)
    done = done + 1
    sends = sends + (result or err).meta.sends
  end,
})
local shown = { problem = not ok and tostring(report) or nil }
if ok then
  shown.counts, shown.stopped, shown.sends, shown.done = report.counts, report.stopped, sends, done
  shown.record = { received = 0, executed = 0, twice = 0 }
  for _, entry in pairs(sandbox:record().cancels) do
    shown.record.received = shown.record.received + entry.received
    shown.record.executed = shown.record.executed + entry.executed
    local before = entry.answers[entry.received - 1]
    if before and before ~= 429 then shown.record.twice = shown.record.twice + 1 end
  end
end
sandbox:close()
print(cjson.encode(shown))
