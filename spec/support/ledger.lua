--- Compares a report on many orders with the sandbox's record, item by item.
--
--     local ledger = require "spec.support.ledger"
--     ledger.cancel(sandbox, client, { concurrency = 32 })
-- @module spec.support.ledger

local ledger = {}

local function fail(uuid, answer, entry)
  error(("%s: %s, sends %d; the server: received %d, executed %d, answered %s"):format(uuid, tostring(answer.kind and answer
    or answer.outcome), answer.meta.sends, entry.received, entry.executed, table.concat(entry.answers, " ")), 0)
end

-- The outcomes that are allowed for an order, given the server's record of it.
local function supports(answer, entry)
  local last, kept = entry.answers[#entry.answers], answer.meta.sends == entry.received
  if answer.outcome == "accepted" then return kept and last == answer.status and entry.executed == 1 end
  if answer.outcome == "rejected" then return kept and last == answer.status and entry.executed == 0 end
  if answer.outcome == "not_sent" then return kept and entry.received == 0 end
  -- a 5xx, or no response
  return kept and (last or 0) == (answer.status or 0)
end

--- Cancels all orders of a sandbox, and raises an error unless each outcome agrees with its record.
-- @tparam table sandbox see `spec.support.process`
-- @tparam crux.client client
-- @tparam table options for `cancel_orders`, but its callbacks
-- @treturn table counts by outcome
function ledger.cancel(sandbox, client, options)
  local answers, seen, index = {}, 0, 0
  options.on_result = function(i, item, result, err)
    if sandbox.orders[i] ~= item.order_uuid then error("expected order " .. i .. ", found " .. item.order_uuid, 0) end
    if answers[i] then error(item.order_uuid .. " was answered twice", 0) end
    local answer = result or err
    answers[i] = { outcome = answer.outcome, kind = answer.kind, status = answer.status, meta = { sends = answer.meta.sends } }
    seen = seen + 1
  end
  local report = client:cancel_orders(function()
    index = index + 1
    return sandbox.orders[index] and { order_uuid = sandbox.orders[index] }
  end, options)
  if seen ~= #sandbox.orders then error(("expected %d answers, found %d"):format(#sandbox.orders, seen), 0) end
  local cancels = sandbox:record().cancels
  local none = { received = 0, executed = 0, answers = {} }
  for i, uuid in ipairs(sandbox.orders) do
    local entry = cancels[uuid] or none
    if not supports(answers[i], entry) then fail(uuid, answers[i], entry) end
  end
  return report.counts
end

return ledger
