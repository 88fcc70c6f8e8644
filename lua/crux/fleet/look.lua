--- Looks at the orders of a queue whose outcome is unknown. Nothing is sent that changes anything.
-- @module crux.fleet.look
local batch = require "crux.batch"
local cancellation = require "crux.cancellation"
local core = require "crux.core"
local unreadable = require "crux.unreadable"

local cjson = require("cjson").new()

local error, max, min, pcall, type = error, math.max, math.min, pcall, type

-- How often it is asked whether to stop while nothing else is done, in seconds.
local SLICE = 0.1

-- The orders to be read, and when the last of them may be, on Redis' clock.
local function wanted_of(fleet)
  local wanted, latest = {}, 0
  local ok, err = fleet:each(function(order, record)
    local is_unknown = record and record.state == "unknown"
    if record and (record.state == "sending"
      or is_unknown and (not record.looked or record.looked == "open")) then
      local readable, arguments = pcall(cjson.decode, record.arguments or "{}")
      readable = readable and type(arguments) == "table"
      wanted[#wanted + 1] = {
        order = order, uuid = readable and arguments.order_uuid or order, -- as it was given
        skus = readable and arguments.skus or nil,
      }
      latest = max(latest, (record.at or 0) + (record.lease or 0))
    end
  end)
  if not ok then return nil, err end
  return wanted, latest
end

-- Waits. Returns whether the time has passed.
local function wait(fleet, seconds, options)
  if seconds <= 0 then return true end
  if options.on_wait then options.on_wait(seconds) end
  local driver = fleet.client:driver()
  local until_then = driver.now() + seconds
  while driver.now() < until_then do
    if options.stopped and options.stopped() then return false end
    driver.sleep(max(0, min(SLICE, until_then - driver.now())))
  end
  return true
end

local function shown_by(order, result, err)
  if not result then return nil, err end
  if type(result.body) ~= "table" then return nil, unreadable("get_order", "an order", result) end
  return cancellation(result.body, order.skus)
end

local function failure(why) return nil, core.failure("network", why) end

-- See `Fleet:reconcile`.
return function(fleet, options)
  local report = { looked = { cancelled = 0, partial = 0, open = 0, closed = 0 }, failed = 0 }
  local wanted, latest = wanted_of(fleet)
  if not wanted then return nil, latest end
  if #wanted == 0 then return report end
  local time, why = fleet.redis:call("TIME")
  if not time then return failure(why) end
  if not wait(fleet, latest / 1000 - time[1] - time[2] / 1e6 + 0.002, options) then
    report.stopped = "interrupted"
    return report
  end
  local place, in_flight, count, lost, raised = 0, {}, 0, nil, nil
  local function resolve(order, seen)
    local reply, message = fleet.redis:call(fleet:script("resolve", order, seen))
    if not reply then lost = lost or message end
    return reply
  end
  local function next_item()
    while not lost and not raised do
      place = place + 1
      local order = wanted[place]
      if not order then return nil end
      if resolve(order.order, "") == "done" then
        count = count + 1
        in_flight[count] = order
        return { order_uuid = order.uuid }
      end
    end
  end
  local function take_result(number, _, result, err)
    local order = in_flight[number]
    in_flight[number] = nil
    local shown, problem = shown_by(order, result, err)
    if shown and resolve(order.order, shown.state) then
      report.looked[shown.state] = report.looked[shown.state] + 1
    else report.failed = report.failed + 1 end
    if not options.on_result or raised then return end
    local ok, what = pcall(options.on_result, order.order, shown, problem)
    if not ok then raised = { what } end
  end
  local made, err = batch.run(fleet.client, "get_order", "batch", next_item, {
    concurrency = options.concurrency, rate = options.rate, on_result = take_result,
  }, 2, function()
    local stopped = options.stopped and options.stopped()
    return stopped == "twice" and "abort" or (stopped or lost or raised) and "stop" or nil
  end)
  if not made then return nil, err end
  if raised then error(raised[1], 0) end
  if lost then return failure(lost) end
  report.stopped, report.stopped_by = made.stopped, made.stopped_by
  return report
end
