--- Waits for the suppliers: reads an order from time to time until nothing of it is open.
-- @module crux.wait
local cancellation = require "crux.cancellation"
local core = require "crux.core"
local unreadable = require "crux.unreadable"

local next, rawget, type = next, rawget, type
local format, huge, max, min = string.format, math.huge, math.max, math.min

local TIMEOUT, INTERVAL = 3600, 30

local function seconds(arguments, name, default)
  local value = rawget(arguments, name)
  if value == nil or value == core.null then return default end
  if type(value) == "number" and value > 0 and value < huge then return value end
  local found = type(value) == "number" and format("%.14g", value) or "a " .. type(value)
  local err = core.failure("invalid",
    format("%s: expected a positive, finite number of seconds, found %s", name, found))
  err.field = name
  return nil, err
end

-- The arguments of each `get_order`: all but those of the wait.
local function read_arguments(arguments)
  local copy = {}
  for name, value in next, arguments do copy[name] = value end
  copy.skus, copy.timeout, copy.interval = nil, nil, nil
  return copy
end

-- Adds the counts of earlier reads, in `total`, to the `meta` of the last one.
local function add_up(meta, total)
  for _, name in next, { "attempts", "sends", "bytes_sent" } do
    total[name] = (total[name] or 0) + meta[name]
    meta[name] = total[name]
  end
end

-- `seen`: what the last order said; `last`: the `meta` of the last read; both nil without one.
local function timed_out(seen, last, allowed)
  local err = core.failure("timeout", format("the order was still %s after %.14g s",
    seen and seen.state or "not read", allowed))
  err.outcome, err.meta, err.cancellation = last and "unknown" or "not_sent", last or err.meta, seen
  return err
end

--- See `Client:wait_cancelled`.
-- @tparam crux.client client or another object with `get_order`
-- @tparam table arguments
-- @tparam table clock a driver: `now` and `sleep`, in seconds
-- @tparam number most the client's own timeout, for each read
-- @local
return function(client, arguments, clock, most)
  local allowed, err = seconds(arguments, "timeout", TIMEOUT)
  local interval
  if allowed then interval, err = seconds(arguments, "interval", INTERVAL) end
  if not interval then return nil, err end
  local deadline, request = clock.now() + allowed, read_arguments(arguments)
  local skus = rawget(arguments, "skus")
  local seen, last, total = nil, nil, {}
  while true do
    local left = deadline - clock.now()
    if left <= 0 then return nil, timed_out(seen, last, allowed) end
    request.timeout = min(left, most)
    local result, failure = client:get_order(request)
    last = (result or failure).meta
    add_up(last, total)
    local pause = interval
    if result then
      if type(result.body) ~= "table" then
        return nil, unreadable("get_order", "an order", result)
      end
      seen, err = cancellation(result.body, skus)
      if not seen then
        err.outcome, err.meta = "unknown", last -- the read was sent
        return nil, err
      end
      if seen.state ~= "open" then return seen end
    elseif not failure.retryable then
      failure.cancellation = seen
      return nil, failure
    else pause = max(interval, failure.retry_after or 0) end
    clock.sleep(min(pause, max(deadline - clock.now(), 0)))
  end
end
