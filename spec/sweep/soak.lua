-- 200,000 calls in one process: memory after the first 1,000 and at the end may differ by less than
-- 1 MB. `make soak`.
local crux = require "crux"
local process = require "spec.support.process"

local CALLS, WARM, MOST = 200000, 1000, 1024

local function resident()
  collectgarbage()
  collectgarbage()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s*(%d+)")
    if kib then return tonumber(kib) end
  end
  error("expected VmRSS in /proc/self/status")
end

local sandbox = process.sandbox{ orders = 500 }
local client = assert(crux.new{
  base_url = sandbox.base_url, ca_file = sandbox.ca_file, token = sandbox.tokens.retailer, proxy = "",
})
local counts, before = {}, nil
for i = 1, CALLS do
  local order = { order_uuid = sandbox.orders[i % #sandbox.orders + 1] }
  local result, err
  if i % 2 == 0 then result, err = client:cancel_order(order) else result, err = client:get_order(order) end
  local outcome = (result or err).outcome
  counts[outcome] = (counts[outcome] or 0) + 1
  if i == WARM then before = resident() end
  if i % 20000 == 0 then print(("%6d calls, %d KiB"):format(i, resident())) end
end
local grown = resident() - before
client:close()
sandbox:close()
for outcome, count in pairs(counts) do print(outcome, count) end
print(("%d KiB more than after %d calls"):format(grown, WARM))
assert(not counts.unknown and not counts.not_sent, "expected every call to be answered")
assert(grown < MOST, ("expected less than %d KiB more, found %d"):format(MOST, grown))
