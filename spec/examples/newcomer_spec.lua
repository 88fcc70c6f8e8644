-- The script of somebody who has read README.md and docs/orders.md: it cancels the orders of a CSV
-- file, while tokens expire and the service is killed and started again, and then lists which are
-- cancelled.
local process = require "spec.support.process"
local program = require "spec.support.program"

local quoted = program.quoted

local SCRIPT = [[
local crux = require "crux"
local client = crux.assert(crux.new{ username = "retailer", password = "retailer" })

local items = {}
for line in io.lines(arg[1]) do items[#items + 1] = { order_uuid = line:match("^[^,]+") } end

local report = client:cancel_orders(items)
for outcome, count in pairs(report.counts) do print(outcome, count) end

for _, item in ipairs(items) do
  local result, err = client:get_order(item)
  print(item.order_uuid, result and crux.cancellation(result.body).state or err)
end
]]

local ORDERS, UNKNOWN_ORDERS = 500, 5

local sandbox, path, script, state

before_each(function()
  path, script, state = os.tmpname(), os.tmpname(), os.tmpname()
  os.remove(state)
end)

after_each(function()
  if sandbox then sandbox:close() end
  sandbox = nil
  for _, file in ipairs{ path, script, state, state .. ".ca.pem" } do os.remove(file) end
end)

local function start_sandbox()
  sandbox = process.sandbox{
    orders = ORDERS, plain = true, token_lifetime = 0.5, state = state,
  }
end

-- Orders that can be cancelled, one that has been shipped, and some that do not exist.
local function write_csv()
  local uuids = { sandbox.shipped_order }
  for i = 1, UNKNOWN_ORDERS do
    uuids[#uuids + 1] = ("00000000-0000-4000-8000-%012x"):format(i)
  end
  for _, uuid in ipairs(sandbox.orders) do uuids[#uuids + 1] = uuid end
  program.write(path, table.concat(uuids, ",late\n") .. ",late\n")
  return uuids
end

local function received()
  local count = 0
  for _, entry in pairs(sandbox:record().cancels) do count = count + entry.received end
  return count
end

describe("a newcomer's script", function()
  it("has at most 15 lines", function()
    local _, lines = SCRIPT:gsub("\n", "")
    assert.is_true(lines <= 15, tostring(lines))
  end)

  it("cancels 500 orders through expiries and a restart, and lists which are cancelled", function()
    start_sandbox()
    local uuids = write_csv()
    program.write(script, SCRIPT)
    local settings = ("CRUX_BASE_URL=%s/~delay=8"):format(sandbox.base_url)
    local command = "env -u CRUX_TOKEN -u CRUX_CA_FILE %s %s %s %s 2>&1"
    local pipe = io.popen(command:format(settings, program.lua, quoted(script), quoted(path)))
    for _ = 1, 1000 do
      if received() >= 200 then break end
      os.execute("sleep 0.02")
    end
    sandbox:kill()
    sandbox:close()
    start_sandbox()
    local said = pipe:read("*a")
    pipe:close()

    local counts, states = {}, {}
    for name, value in said:gmatch("([^\t\n]+)\t([^\n]*)\n") do
      if #name == 36 then states[name] = value else counts[name] = tonumber(value) end
    end
    local cancels = sandbox:record().cancels
    local executed, twice = 0, {}
    for uuid, entry in pairs(cancels) do
      executed = executed + entry.executed
      local refused = 0 -- with an expired token
      for _, status in ipairs(entry.answers) do refused = refused + (status == 401 and 1 or 0) end
      if entry.received - refused > 1 or entry.executed > 1 then twice[#twice + 1] = uuid end
    end
    assert.same({}, twice)
    assert.equal(0, counts.not_started, said)
    assert.equal(0, counts.not_sent)
    assert.equal(1 + UNKNOWN_ORDERS, counts.rejected)
    assert.equal(ORDERS, counts.accepted + counts.unknown)
    -- those in flight when the sandbox was killed, and those that were sent before the end of
    -- their connection was seen
    assert.is_true(counts.unknown <= 16, tostring(counts.unknown))
    assert.is_true(counts.accepted <= executed)
    for i, uuid in ipairs(uuids) do
      local entry = cancels[uuid] or { executed = 0 }
      if i == 1 then assert.equal("closed", states[uuid])
      elseif i <= 1 + UNKNOWN_ORDERS then
        assert.is_truthy(states[uuid]:find("^rejected %(http%): HTTP 422"), states[uuid])
      else assert.equal(entry.executed == 1 and "cancelled" or "open", states[uuid]) end
    end
  end)
end)
