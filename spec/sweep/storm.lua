-- The kill storm: a bulk run of the command is killed by SIGKILL again and again, and resumed,
-- until all orders are through. Then the sandbox's own log is compared with what the journal says:
-- no order may have been sent twice, but after a 401 or 429, and none may be lost.
--
--     lua storm.lua [--orders N] [--kills N] [--seed N]
--
-- Then the same, shorter, with a command that writes intents too late: orders that are sent twice
-- must be found there, or the storm proves nothing.
local core = require "crux.core"
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local process = require "spec.support.process"
local sandbox_log = require "spec.support.sandbox_log"

local LUA = os.getenv "TEST_LUA" or "lua5.4"
-- Answers take 0 to 20 ms; two in a hundred requests fail in any way there is.
local FAULTS = "/~jitter=20,random=7,rate=0.02"
local CONCURRENCY, TIMEOUT = 8, 2
-- About so many are answered, for the first kills.
local REQUESTS_PER_SECOND = 1000
-- The share of the orders that is sent during the kills. The others are sent afterwards.
local SHARE = 0.8

local quoted = files.quoted

local function option(name, default)
  for i = 1, #arg do
    if arg[i] == "--" .. name then return tonumber(arg[i + 1]) end
  end
  return default
end

local ORDERS, KILLS = option("orders", 100000), option("kills", 1000)
local SEED = option("seed", os.time())

local function check(condition, ...)
  if condition then return end
  io.stderr:write("storm: ", (...):format(select(2, ...)), ("; seed %d"):format(SEED), "\n")
  os.exit(1)
end

-- Whether a run has ended by itself, with nothing left to send.
local function is_end(code) return code == 0 or code == 1 or code == 3 end

-- --- one run of the command ---

local Storm = {}
Storm.__index = Storm

local function start_storm(orders, program)
  local directory = files.lines("mktemp -d")[1]
  local self = setmetatable({ directory = directory, program = program, in_flight = 0 }, Storm)
  self.sandbox = process.sandbox{ plain = true, orders = orders, journal = directory .. "/log" }
  self.log = sandbox_log(directory .. "/log")
  self.orders, self.journal = directory .. "/orders.csv", directory .. "/orders.csv.journal"
  files.write(self.orders, "order_uuid\n" .. table.concat(self.sandbox.orders, "\n") .. "\n")
  return self
end

function Storm:close()
  self.sandbox:close()
  os.execute("rm -r " .. quoted(self.directory))
end

function Storm:command(words)
  return ("CRUX_BASE_URL=%s CRUX_TOKEN=%s XDG_STATE_HOME=%s %s %s %s"):format(
    quoted(self.sandbox.base_url .. FAULTS), self.sandbox.tokens.retailer,
    quoted(self.directory), LUA, self.program, words)
end

-- What to run next.
function Storm:next_words()
  local flags = (" --concurrency %d --timeout %d --yes --quiet"):format(CONCURRENCY, TIMEOUT)
  flags = flags .. " --stop-after 1000000"
  local file = io.open(self.journal)
  if not file then return "cancel --file " .. quoted(self.orders) .. flags end
  file:close()
  return "resume " .. quoted(self.journal) .. flags
end

-- Starts the command. Returns its pid, and a function that waits for its end and returns the code
-- and what it printed to stdout and to stderr.
function Storm:start(words)
  local output = self.directory .. "/output"
  local script = "exec 2>/dev/null; %s >%s 2>%s & echo $!; wait $!; echo $? >%s"
  local pipe = assert(io.popen(script:format(self:command(words), quoted(output),
    quoted(output .. ".errors"), quoted(output .. ".code"))))
  local pid = tonumber(pipe:read("*l"))
  return pid, function()
    pipe:close()
    local code = tonumber(files.read(output .. ".code"))
    os.remove(output .. ".code")
    return code, files.read(output), files.read(output .. ".errors")
  end
end

function Storm:has_ended()
  local file = io.open(self.directory .. "/output.code")
  if file then file:close() end
  return file ~= nil
end

function Storm:run(words)
  local _, wait = self:start(words)
  return wait()
end

-- Runs the command and kills it: now and then before its first request, else so long after that.
-- Returns false once it ends by itself.
function Storm:kill_once(seconds)
  local before = self.log.received
  local pid, wait = self:start(self:next_words())
  if math.random() < 0.1 then core.sleep(math.random() * 0.1)
  else
    repeat
      core.sleep(0.002)
      self.log:read()
    until self.log.received > before or self:has_ended()
    core.sleep(math.random() * 2 * seconds)
  end
  forks.kill(pid, 9)
  self.log:read()
  local code, _, output = wait()
  if code == 137 then
    if self.log.received > self.log.answered then self.in_flight = self.in_flight + 1 end
    self.log:read()
    return true
  end
  if code == 2 and output:find("nothing was sent, delete it", 1, true) then
    os.remove(self.journal)
    return true
  end
  check(is_end(code), "the command ended with %s: %s", tostring(code), output)
  return false
end

-- Kills until so many kills, or until all orders are through. Returns how many.
function Storm:rage(orders, kills)
  local count, began, seconds = 0, core.now(), orders / kills / REQUESTS_PER_SECOND
  while count < kills do
    local left_before = orders * SHARE - self.log.received
    if not self:kill_once(seconds) then break end
    count = count + 1
    -- so that the orders last for the kills: longer if fewer were sent than there are for each kill
    local left = orders * SHARE - self.log.received
    local is_ahead = left_before - left < left / (kills - count + 1)
    seconds = math.max(0.001, seconds * (is_ahead and 1.05 or 0.95))
    if count % 100 == 0 then
      local took = math.floor(core.now() - began)
      io.write((" %d kills, %d requests, %d s\n"):format(count, self.log.received, took))
      io.stdout:flush()
    end
  end
  return count
end

-- Lets the rest go through, and looks at what is unknown.
function Storm:calm()
  local code, output, errors
  for _ = 1, 20 do
    code, _, errors = self:run(self:next_words())
    if code == 2 and errors:find("delete it", 1, true) then os.remove(self.journal) end
    if is_end(code) then break end
  end
  check(is_end(code), "the last run ended with %s: %s", tostring(code), errors)
  for _ = 1, 5 do
    code, output, errors = self:run("reconcile " .. quoted(self.journal)
      .. " --stop-after 1000000 --json")
    check(code == 0 or code == 3, "reconcile ended with %s: %s", tostring(code), errors)
    if not output:find('"kind":', 1, true) then break end
  end
end

-- Compares the report with the log. Returns the counts of what the orders came to.
function Storm:judge()
  local cjson = require "cjson"
  self.log:read()
  local code, output = self:run("report " .. quoted(self.journal) .. " --json")
  check(is_end(code), "report ended with %s", tostring(code))
  local counts, seen, lost = { accepted = 0, rejected = 0, looked = 0 }, {}, 0
  for line in output:gmatch("[^\n]+") do
    local row = cjson.decode(line)
    if row.type == "order" then
      local uuid = row.order_uuid
      check(not seen[uuid], "%s is reported twice", uuid)
      seen[uuid] = true
      local is_true = true
      if row.outcome == "accepted" then is_true = self.log.executed[uuid]
      elseif row.outcome == "rejected" then is_true = not self.log.executed[uuid]
      elseif row.looked == "cancelled" then is_true = self.log.executed[uuid]
      elseif row.looked == "open" then is_true = not self.log.executed[uuid]
      else lost = lost + 1 end
      check(is_true, "%s is reported as %s, %s", uuid, row.outcome, tostring(row.looked))
      local what = row.outcome == "unknown" and "looked" or row.outcome
      counts[what] = (counts[what] or 0) + 1
    end
  end
  for _, uuid in ipairs(self.sandbox.orders) do
    if not seen[uuid] then lost = lost + 1 end
  end
  return counts, lost
end

local function storm(name, orders, kills, program, is_control)
  print(("%s: %d orders, %d kills"):format(name, orders, kills))
  local self = start_storm(orders, program)
  local count = self:rage(orders, kills)
  if is_control then
    self:run(self:next_words())
    self.log:read()
    print(("%s: %d kills; %d requests: %d sent twice"):format(name, count, self.log.received,
      self.log.doubles))
    self:close()
    return self.log.doubles
  end
  self:calm()
  local counts, lost = self:judge()
  print(("%s: %d kills, %d of them with requests in flight; %d requests: %d sent twice, %d lost; "
    .. "%d accepted, %d rejected, %d looked at"):format(name, count, self.in_flight,
    self.log.received, self.log.doubles, lost, counts.accepted, counts.rejected, counts.looked))
  self:close()
  return { kills = count, in_flight = self.in_flight, doubles = self.log.doubles, lost = lost }
end

math.randomseed(SEED)
local found = storm("storm", ORDERS, KILLS, "bin/crux")
check(found.kills == KILLS, "expected orders for %d kills, found that they lasted for %d", KILLS,
  found.kills)
check(found.in_flight >= KILLS / 2, "expected requests in flight at half of the kills, found %d",
  found.in_flight)
check(found.doubles == 0, "%d orders were sent twice", found.doubles)
check(found.lost == 0, "%d orders were lost", found.lost)
local doubles = storm("without intents", math.min(ORDERS, 2000), math.min(KILLS, 30),
  "spec/support/late_intents.lua", true)
check(doubles > 0, "expected doubles where intents are written too late, found none")
print("storm: passed")
