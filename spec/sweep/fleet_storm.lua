-- The fleet storm: workers of a fleet are killed by SIGKILL again and again, and so is Redis, while
-- they send the orders of a queue. Then the sandbox's own log is compared with the records: no order
-- may have been sent twice, but after a 401 or 429, and none may be lost.
--
--     lua fleet_storm.lua [--orders N] [--kills N] [--redis-kills N] [--workers N] [--seed N]
--       [--host processes|nginx]
--
-- With `--host nginx` the workers run in the worker processes of nginx, which is reloaded every
-- second too.
--
-- Then the same, shorter, with a script `claim` that lets an order go again once its claim ran out:
-- orders that are sent twice must be found there, or the storm proves nothing.
local Fleet = require "crux.fleet"
local core = require "crux.core"
local crux = require "crux"
local files = require "spec.support.files"
local hosts = require "spec.support.fleet_hosts"
local process = require "spec.support.process"
local redis = require "spec.support.redis"
local sandbox_log = require "spec.support.sandbox_log"

-- Answers take 0 to 20 ms; two in a hundred requests fail in any way there is.
local FAULTS = "/~jitter=20,random=7,rate=0.02"
local TIMEOUT = 2
-- Between two kills, on average, in seconds.
local INTERVAL = 0.15
-- The share of the orders that is sent during the kills. The others are sent afterwards.
local SHARE = 0.8

local quoted = files.quoted

local function option(name, default)
  for i = 1, #arg do
    if arg[i] == "--" .. name then return tonumber(arg[i + 1]) or arg[i + 1] end
  end
  return default
end

local ORDERS, KILLS, REDIS_KILLS = option("orders", 100000), option("kills", 1000), option("redis-kills", 50)
local WORKERS, SEED = option("workers", 4), option("seed", os.time())
local HOST = option("host", "processes")

local function check(condition, ...)
  if condition then return end
  io.stderr:write("fleet-storm: ", (...):format(select(2, ...)), ("; seed %d"):format(SEED), "\n")
  os.exit(1)
end

local Storm = {}
Storm.__index = Storm

local function start_storm(orders, is_control)
  local self = setmetatable({
    directory = files.lines("mktemp -d")[1], is_control = is_control, in_flight = 0,
  }, Storm)
  self.redis = redis.start()
  self.sandbox = process.sandbox{ plain = true, orders = orders, journal = self.directory .. "/log" }
  self.log = sandbox_log(self.directory .. "/log")
  self.client = assert(crux.new{
    base_url = self.sandbox.base_url .. FAULTS, token = self.sandbox.tokens.retailer, timeout = TIMEOUT,
  })
  self.fleet = assert(Fleet.new{ redis = self.redis.url, client = self.client })
  local place = 0
  local report = assert(self.fleet:enqueue(function()
    place = place + 1
    return self.sandbox.orders[place] and { order_uuid = self.sandbox.orders[place] }
  end))
  check(report.added == orders, "expected %d orders to be added, found %d", orders, report.added)
  return self
end

function Storm:close()
  if self.host then self.host:close() end
  self.client:close()
  self.fleet:close()
  self.sandbox:close()
  self.redis:close()
  os.execute("rm -r " .. quoted(self.directory))
end

function Storm:rage(orders, kills, redis_kills)
  local began, redis_count = core.now(), 0
  self.host = hosts[HOST]{
    base_url = self.sandbox.base_url .. FAULTS, token = self.sandbox.tokens.retailer,
    redis = self.redis.url, timeout = TIMEOUT, rate = orders * SHARE / (kills * INTERVAL),
    workers = WORKERS, control = self.is_control,
  }
  for count = 1, kills do
    core.sleep(math.random() * 2 * INTERVAL)
    self.log:read()
    if self.log.received > self.log.answered then self.in_flight = self.in_flight + 1 end
    self.host:kill()
    self.host:turn()
    if redis_count < redis_kills * count / kills then
      redis_count = redis_count + 1
      self.redis:kill()
      self.redis:start()
    end
    if count % 100 == 0 then
      self.log:read()
      io.write((" %d kills, %d of Redis%s, %d requests, %d s\n"):format(count, redis_count,
        self.host.summary, self.log.received, math.floor(core.now() - began)))
      io.stdout:flush()
    end
  end
end

-- Lets the rest go through.
function Storm:calm()
  local why = self.host:calm(function() return assert(self.fleet:status()).left == 0 end)
  check(not why, "%s", why)
  self.log:read()
end

function Storm:look()
  for _ = 1, 10 do
    local report = assert(self.fleet:reconcile())
    if report.failed == 0 and not report.stopped then break end
  end
end

-- Compares the records with the log. Returns counts, and how many orders were lost.
function Storm:judge()
  local counts, seen, lost = { accepted = 0, rejected = 0, looked = 0 }, {}, 0
  assert(self.fleet:results(function(row)
    local uuid, is_true = row.order_uuid, true
    check(not seen[uuid], "%s has two records", uuid)
    seen[uuid] = true
    local is_executed = self.log.executed[uuid]
    if row.state == "accepted" or row.looked == "cancelled" then is_true = is_executed
    elseif row.state == "rejected" or row.looked == "open" then is_true = not is_executed
    else lost = lost + 1 end
    check(is_true, "%s is recorded as %s, %s", uuid, row.state, tostring(row.looked))
    local what = row.state == "unknown" and "looked" or row.state
    counts[what] = (counts[what] or 0) + 1
  end))
  for _, uuid in ipairs(self.sandbox.orders) do
    if not seen[uuid] then lost = lost + 1 end
  end
  local client = self.redis:client()
  local pending = assert(client:call("XPENDING", self.fleet.keys[2], "workers"))[1]
  client:close()
  local status = assert(self.fleet:status())
  check(pending == 0 and status.left == 0, "%d entries are pending, %d are in the stream", pending, status.left)
  for name, count in pairs{ accepted = counts.accepted, rejected = counts.rejected, unknown = counts.looked } do
    check(status.states[name] == count, "%d orders are counted as %s, %d are", status.states[name], name, count)
  end
  return counts, lost
end

local function storm(name, orders, kills, redis_kills, is_control)
  print(("%s: %d orders, %d kills of %d workers, %d of Redis"):format(name, orders, kills, WORKERS, redis_kills))
  local self = start_storm(orders, is_control)
  local ok, why = pcall(function()
    self:rage(orders, kills, redis_kills)
    self:calm()
    if is_control then
      print(("%s: %d requests: %d sent twice"):format(name, self.log.received, self.log.doubles))
      return
    end
    self:look()
    local counts, lost = self:judge()
    print(("%s: %d kills, %d of them with requests in flight%s; %d requests: %d sent twice, "
      .. "%d lost; %d accepted, %d rejected, %d looked at"):format(name, kills, self.in_flight,
      self.host.summary, self.log.received, self.log.doubles, lost, counts.accepted,
      counts.rejected, counts.looked))
    check(self.log.doubles == 0, "%d orders were sent twice", self.log.doubles)
    check(lost == 0, "%d orders were lost", lost)
    check(self.in_flight >= kills / 2, "expected requests in flight at half of the kills, found %d", self.in_flight)
  end)
  self:close()
  check(ok, "%s", tostring(why))
  return self.log.doubles
end

check(hosts[HOST], "--host: expected processes or nginx, found %s", HOST)
math.randomseed(SEED)
storm("fleet-storm", ORDERS, KILLS, REDIS_KILLS)
local doubles = storm("without the rule", math.min(ORDERS, 2000), math.min(KILLS, 40), 0, true)
check(doubles > 0, "expected doubles where a claim that ran out is sent again, found none")
print("fleet-storm: passed")
