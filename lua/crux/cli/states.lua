--- The states of an order in a journal: which line leads to which, and what may be done next.
-- @module crux.cli.states

-- `outcome`: what the report says. `sends`: a resumed run sends the order. `looks`: `reconcile`
-- reads it. `looked`: `reconcile` has found that. `fails`: it will not be cancelled. The place in
-- the list is the code that the journal keeps in memory.
local LIST = {
  { name = "none", outcome = "not_started", sends = true },
  { name = "intent", outcome = "unknown", looks = true },        -- and no outcome
  { name = "accepted", outcome = "accepted" },
  { name = "rejected", outcome = "rejected", fails = true },
  { name = "unauthorized", outcome = "rejected", sends = true, is_auth = true }, -- 401
  { name = "throttled", outcome = "rejected", sends = true },    -- 429
  { name = "not_sent", outcome = "not_sent", sends = true },
  { name = "no_token", outcome = "not_sent", sends = true, is_auth = true },
  { name = "invalid", outcome = "not_sent", fails = true },
  { name = "unknown", outcome = "unknown", looks = true },
  { name = "not_started", outcome = "not_started", sends = true }, -- at a clean stop
  { name = "cancelled", outcome = "unknown", looked = true },
  { name = "partial", outcome = "unknown", looked = true, fails = true },
  { name = "open", outcome = "unknown", looked = true, looks = true },
  { name = "closed", outcome = "unknown", looked = true, fails = true },
}

local states = { by_code = {}, by_name = {} }

for place, state in ipairs(LIST) do
  state.code = place - 1
  states.by_code[state.code] = state
  states.by_name[state.name] = state
end

--- More than the largest code.
states.LIMIT = 16

local by_name = states.by_name

-- What a line of kind outcome leads to.
local function after_outcome(line)
  local outcome = line.outcome
  if outcome == "rejected" then
    return line.status == 401 and "unauthorized" or line.status == 429 and "throttled" or outcome
  elseif outcome == "not_sent" then
    return line.kind == "invalid" and "invalid" or line.kind == "auth" and "no_token" or outcome
  end
  local is_known = outcome == "accepted" or outcome == "unknown" or outcome == "not_started"
  return is_known and outcome or nil
end

--- The state that a line about an order leads to.
-- @tparam table before a state
-- @tparam table line
-- @treturn ?table nil: the line cannot follow that state
function states.after(before, line)
  if line.type == "intent" then
    -- an order that is open, or was never looked at, is sent again by the user's word alone
    local may_be_sent = before.sends or before.name == "open"
    return may_be_sent and by_name.intent or nil
  elseif line.type == "outcome" then
    return before.name == "intent" and by_name[after_outcome(line) or 0] or nil
  elseif line.type == "looked" then
    local state = by_name[line.looked or 0]
    return before.looks and state and state.looked and state or nil
  end
  return nil
end

return states
