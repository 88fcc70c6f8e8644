-- fleet.lua [seconds]: what a fleet's bookkeeping costs with one Redis under appendfsync always, in
-- windows of 32; the rate of four worker processes together, beside what was asked; and what 1, 2, 4
-- and 8 workers send. Reported, and no limit: a sync takes as long as the disk wants.
local Fleet = require "crux.fleet"
local Link = require "crux.fleet.link"
local core = require "crux.core"
local crux = require "crux"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local process = require "spec.support.process"
local redis = require "spec.support.redis"

local LUA = os.getenv "TEST_LUA" or "lua5.4"
local SECONDS, ORDERS, WINDOW, RATE = tonumber(arg[1] or 10), 5000, 32, 200

local quoted = files.quoted

local function orders(count)
  local index = 0
  return function()
    index = index + 1
    return index <= count and { order_uuid = ("54a31ec5-b0be-4a92-af4c-%012d"):format(index) } or nil
  end
end

-- Claims and finishes orders, as a worker does whose calls take no time.
local function bookkeeping(fleet)
  assert(fleet:enqueue(orders(ORDERS)))
  local link, done, began = Link.new(fleet, 30, 40, {}), 0, core.now()
  while done < ORDERS do
    assert(link:refresh(WINDOW, WINDOW), link.why)
    for _, claim in ipairs(link:claim(WINDOW)) do
      link:finish(claim, "accepted", '{"status":204}')
      done = done + 1
    end
  end
  link:close(10)
  local seconds = core.now() - began
  assert(fleet:status().states.accepted == ORDERS)
  print(("bookkeeping: %.0f orders/s in windows of %d (aim 5000)"):format(ORDERS / seconds, WINDOW))
end

-- Runs workers for a while. Returns how many orders they sent in a second.
local function sent_by(count, server, sandbox, fleet, values)
  assert(fleet:purge())
  assert(fleet:enqueue(orders(count * 2000 + SECONDS * RATE)))
  local workers = {}
  for i = 1, count do
    local line = "echo $$; CRUX_BASE_URL=%s CRUX_TOKEN=%s exec %s spec/support/fleet_worker.lua %s timeout=20 concurrency=16 %s"
    local pipe = assert(io.popen(line:format(
      quoted(sandbox.base_url), sandbox.tokens.retailer, LUA, quoted(server.url), values)))
    workers[i] = { pid = tonumber(pipe:read("*l")), pipe = pipe }
  end
  local function total()
    local states = assert(fleet:status()).states
    return states.accepted + states.rejected
  end
  repeat core.sleep(0.01) until total() > 0
  core.sleep(0.5)
  local before, began = total(), core.now()
  core.sleep(values == "" and SECONDS / 5 or SECONDS)
  local rate = (total() - before) / (core.now() - began)
  for _, worker in ipairs(workers) do
    forks.kill(worker.pid, 15)
    worker.pipe:read("*a")
    worker.pipe:close()
  end
  return rate
end

local server, sandbox = redis.start(), process.sandbox{ plain = true, orders = 1 }
local client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer })
local fleet = assert(Fleet.new{ redis = server.url, client = client })
local ok, why = pcall(function()
  bookkeeping(fleet)
  local rate = sent_by(4, server, sandbox, fleet, ("rate=%d"):format(RATE))
  print(("rate of 4 workers: %.1f/s, asked %d/s: %+.1f %% (aim 2 %%)"):format(rate, RATE, 100 * (rate / RATE - 1)))
  for _, count in ipairs{ 1, 2, 4, 8 } do
    print(("%d workers: %.0f orders/s"):format(count, sent_by(count, server, sandbox, fleet, "")))
  end
end)
fleet:close()
client:close()
sandbox:close()
server:close()
assert(ok, why)
