-- The allocation-failure sweep: every allocation of Lua's, and every call of core.so that can fail for want of something,
-- fails once. Nothing may crash, leak (AddressSanitizer watches) or claim more than is known, and afterwards all works as
-- before. `make oom`.
local host = require "host"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"

local TOKEN = "oom-sweep-token-0123456789"
local ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
local SKUS = { { supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f", sku_id = "000106", quantity = 2, price = 1.5 } }

local function serve(status, body)
  return fault.serve{
    script = "while conn:request() do conn:write(shared.answer) end",
    shared = { answer = ("HTTP/1.1 %s\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: %d\r\n\r\n%s"):format(status, #body, body) },
  }
end

local accepting = serve("200 OK", '{"a":[1,{"b":2}]}')
local rejecting = serve("422 Unprocessable Entity", '{"skus":[{},{"sku_id":["no"]}],"non_field_errors":["x"],"y":"z"}')

local function arguments(server)
  return { token = TOKEN, base_url = server.base_url, order_uuid = ORDER, skus = SKUS, timeout = 10 }
end

local function client(server)
  return assert(crux.new{ token = TOKEN, base_url = server.base_url, timeout = 10, retries = 0 })
end

local accepted_client, rejected_client = client(accepting), client(rejecting)
local order = { order_uuid = ORDER, skus = SKUS }

-- What each is expected to come to when nothing fails.
local scenes = {
  { "load", function() return package.loadlib(package.searchpath("crux.core", package.cpath), "luaopen_crux_core")() end },
  { "one call", function() return core.cancel_order(arguments(accepting)) end, "accepted" },
  { "one rejected call", function() return core.cancel_order(arguments(rejecting)) end, "rejected" },
  { "one invalid call", function() return core.cancel_order{ order_uuid = 1, skuz = 2 } end, "not_sent" },
  { "a client", function() return tostring(crux.new{ token = TOKEN, user_agent = "a/1", proxy = "http://u:p@localhost:1" }) end },
  { "a client's call", function() return accepted_client:cancel_order(order) end, "accepted" },
  { "a client's rejected call", function() return rejected_client:cancel_order(order) end, "rejected" },
  { "a dry run", function() return accepted_client:dry_run("get_order", { order_uuid = ORDER }) end },
  { "a submitted call", function()
    local pending, err = accepted_client:submit("cancel_order", order)
    if not pending then return nil, err end
    local _, result, why = pending:wait()
    return result, why
  end, "accepted" },
  { "a submitted call of a client of its own", function()
    local own = client(rejecting)
    local pending, err = own:submit("cancel_order", order)
    if not pending then return nil, err end
    own:pollfd()
    while not pending:poll() do own:step() end
    own:close()
    return select(2, pending:poll())
  end, "rejected" },
  { "a dropped call", function() accepted_client:submit("cancel_order", order) return "dropped" end },
  { "many calls", function()
    return { outcome = accepted_client:cancel_orders({ order, order, order }).counts.accepted == 3 and "accepted" or "other" }
  end, "accepted" },
}

local passed, failed = 0, 0

local function complain(name, n, ...)
  failed = failed + 1
  io.stderr:write(("oom: %s, failure %d: "):format(name, n), table.concat({ ... }, " "), "\n")
end

local function check(name, n, outcome, ok, result, err)
  collectgarbage()
  if not ok then
    if not tostring(result):find("memory", 1, true) and not tostring(result):find("descriptor", 1, true) then
      complain(name, n, "expected 'not enough memory' to be raised, found", tostring(result))
    end
    return
  end
  local answer = result or err
  if not outcome or type(answer) ~= "table" then return end
  if tostring(answer.message):find(TOKEN, 1, true) then complain(name, n, "found the token in a message") end
  if answer.outcome ~= outcome and answer.kind ~= "memory" and answer.outcome ~= "other" then
    complain(name, n, "expected", outcome, "or a failure for want of memory, found", tostring(answer.outcome),
      tostring(answer.kind), tostring(answer.message))
  end
end

for _, scene in ipairs(scenes) do
  local name, run, outcome = scene[1], scene[2], scene[3]
  run() -- what is made once is made
  for _, way in ipairs{ "starve", "fail" } do
    local n, count = 0, nil
    repeat
      n = n + 1
      if way == "starve" then
        local function keep(counted, ...)
          count = counted
          check(name, n, outcome, ...)
        end
        keep(host.starve(n, run))
      else
        local function keep(counted, which, ...)
          count = counted
          check(name .. (which and ", " .. which or ""), n, outcome, ...)
        end
        keep(host.fail(n, run))
      end
      passed = passed + 1
    until count < n or n == 5000
    local ok, result, err = pcall(run)
    if not ok or (outcome and (result or err).outcome ~= outcome) then
      complain(name, 0, "expected all to be well afterwards, found", tostring(ok and err or result))
    end
    print(("%-45s %-7s %5d failures"):format(name, way, n))
  end
end

accepted_client:close()
rejected_client:close()
fault.stop()
print(("%d failures survived, %d complaints"):format(passed, failed))
os.exit(failed == 0 and 0 or 1, true)
