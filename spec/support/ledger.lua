--- Compares a report on many orders with the sandbox's record, item by item.
--
--     local ledger = require "spec.support.ledger"
--     ledger.cancel(sandbox, client, { concurrency = 32 })
--     ledger.survives(orders, answers, sandbox:record().cancels)
-- @module spec.support.ledger

local ledger = {}

local function fail(uuid, answer, entry)
  local text = "%s: %s (%s), sends %d; the server: received %d, executed %d, answered %s"
  error(text:format(uuid, answer.outcome, tostring(answer.kind or answer.status), answer.sends,
    entry.received, entry.executed, table.concat(entry.answers, " ")), 0)
end

local NONE = { received = 0, executed = 0, answers = {} }
-- After these answers a request may be sent again.
local REPEATED = { [401] = true, [429] = true }

-- The outcomes that are allowed for an order, given the server's record of it.
local function supports(answer, entry)
  local last, kept = entry.answers[#entry.answers], answer.sends == entry.received
  local same = kept and last == answer.status
  if answer.outcome == "accepted" then return same and entry.executed == 1 end
  if answer.outcome == "rejected" then return same and entry.executed == 0 end
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
    if sandbox.orders[i] ~= item.order_uuid then
      error("expected order " .. i .. ", found " .. item.order_uuid, 0)
    end
    if answers[i] then error(item.order_uuid .. " was answered twice", 0) end
    local answer = result or err
    answers[i] = {
      outcome = answer.outcome, kind = answer.kind, status = answer.status,
      sends = answer.meta.sends,
    }
    seen = seen + 1
  end
  local report = client:cancel_orders(function()
    index = index + 1
    return sandbox.orders[index] and { order_uuid = sandbox.orders[index] }
  end, options)
  if seen ~= #sandbox.orders then
    error(("expected %d answers, found %d"):format(#sandbox.orders, seen), 0)
  end
  local cancels = sandbox:record().cancels
  for i, uuid in ipairs(sandbox.orders) do
    local entry = cancels[uuid] or NONE
    if not supports(answers[i], entry) then fail(uuid, answers[i], entry) end
  end
  return report.counts
end

--- Raises an error unless what became of each order agrees with a service that was restarted and
-- killed meanwhile. A request that was sent may then have got lost on its way, so the record may
-- have less than was sent, and never more. Of the requests for one order, all but the last were
-- answered 401 or 429: only such a request may be repeated.
-- @tparam table orders UUIDs
-- @tparam table answers by index `{ outcome, status, sends }`
-- @tparam table cancels the record of them
-- @treturn table counts by outcome
function ledger.survives(orders, answers, cancels)
  local counts = { accepted = 0, rejected = 0, unknown = 0, not_sent = 0 }
  for i, uuid in ipairs(orders) do
    local answer = answers[i] or error(uuid .. " is unaccounted for", 0)
    local entry = cancels[uuid] or NONE
    local last = entry.answers[entry.received]
    local ok = entry.executed <= 1 and entry.received <= answer.sends
    for n = 1, entry.received - 1 do ok = ok and REPEATED[entry.answers[n]] end
    if answer.outcome ~= "unknown" then ok = ok and entry.received == answer.sends end
    if answer.outcome == "accepted" then ok = ok and entry.executed == 1 and last == 204
    elseif answer.outcome == "rejected" then ok = ok and entry.executed == 0 end
    if answer.status then ok = ok and last == answer.status end
    if not ok then fail(uuid, answer, entry) end
    counts[answer.outcome] = counts[answer.outcome] + 1
  end
  return counts
end

return ledger
