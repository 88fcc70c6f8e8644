-- latency.lua [machine]: how long each call takes that promises not to block, while everything it may wait for is as slow
-- as can be. Percentiles in microseconds by the clock on the wall, which other processes make longer; `held` is the worst
-- without those: processor time, or the clock's if the thread went to sleep. What a host's garbage collector does at one
-- time is part of that; in `no gc`, a second run, it is run between the calls. With `machine`, a line of plain fields each.
local LUA = os.getenv("TEST_LUA") or "lua5.4"
local CALLS = 1000
local ROUNDS = 3

local OPERATIONS = { "submit", "poll", "step", "abort", "close", "late poll" }

-- Runs in a process of its own, so that the first submit is a process's first: times each operation.
local function measure(name, base_url, ca_file, seconds, connections, collects, credentials)
  local crux, core, forks = require "crux", require "crux.core", require "spec.support.forks"
  local times, worst = {}, {}
  for _, operation in ipairs(OPERATIONS) do times[operation], worst[operation] = {}, 0 end
  local function timed(operation, f, ...)
    local cpu, sleeps = forks.held()
    local before = core.now()
    local value = f(...)
    local took = core.now() - before
    local cpu_after, sleeps_after = forks.held()
    local list = times[operation]
    list[#list + 1] = took
    worst[operation] = math.max(worst[operation], sleeps_after > sleeps and took or cpu_after - cpu)
    return value
  end
  -- as quick as a host's function can be: what counts is what crux does around it
  local asked = 0
  local function token(refused)
    if refused then asked = asked + 1 end
    return "latency-token-" .. asked
  end
  local client = assert(crux.new{
    token = credentials == "function" and token or credentials ~= "login" and "latency-token" or nil,
    username = credentials == "login" and "latency" or nil,
    password = credentials == "login" and "latency-password" or nil,
    base_url = base_url, ca_file = ca_file, timeout = 60, connect_timeout = 50, proxy = "",
    max_connections = connections,
  })
  local order = { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
    skus = { { supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f", sku_id = "000106", quantity = 2 } } }
  local calls = {}
  if not collects then collectgarbage("stop") end
  for i = 1, CALLS do calls[i] = timed("submit", client.submit, client, "cancel_order", order) end

  -- frames, in which a plugin looks after some of its calls, gives one up and starts another
  local frame, until_then = 0, core.now() + seconds
  while core.now() < until_then do
    frame = frame + 1
    for i = 1, 50 do
      local call = calls[(frame * 50 + i) % CALLS + 1]
      timed("poll", call.poll, call)
    end
    for _ = 1, 4 do timed("step", client.step, client) end
    local one = frame % CALLS + 1
    timed("abort", calls[one].abort, calls[one])
    calls[one] = timed("submit", client.submit, client, "cancel_order", order)
    if not collects then collectgarbage("step", 100) end
    core.sleep(0.005)
  end

  timed("close", client.close, client)
  for i = 1, CALLS do timed("late poll", calls[i].poll, calls[i]) end

  for _, operation in ipairs(OPERATIONS) do
    local list = times[operation]
    table.sort(list)
    local function at(share) return list[math.max(1, math.ceil(#list * share))] * 1e6 end
    print(("%s,%s,%d,%.1f,%.1f,%.1f,%.1f,%.1f"):format(name, operation, #list, at(0.5), at(0.99), at(0.999), at(1),
      worst[operation] * 1e6))
  end
end

if arg[1] == "child" then
  measure(arg[2], arg[3], arg[4] ~= "" and arg[4] or nil, tonumber(arg[5]), tonumber(arg[6]), arg[7] == "gc", arg[8])
  return
end

local fault = require "spec.support.fault"
local forks = require "spec.support.forks"

fault.start()
local resolver = forks.compile("slow_resolver.c")

-- Answers one request in ten with 429, one in a hundred with 401, and a login with a new token.
local THROTTLING = [[
  shared.count = shared.count or 0
  while true do
    local request = conn:request()
    if not request then break end
    shared.count = shared.count + 1
    local body = '{"auth_token": "latency-token-' .. shared.count .. '"}'
    if request.path:find("login", 1, true) then
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
    elseif shared.count % 100 == 0 then conn:write("HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
    elseif shared.count % 10 == 0 then
      conn:write("HTTP/1.1 429 X\r\nRetry-After: " .. (shared.count % 20 == 0 and 1 or 0) .. "\r\nContent-Length: 0\r\n\r\n")
    else conn:write("HTTP/1.1 204 No Content\r\n\r\n") end
  end ]]

local SCENARIOS = {
  { "a look-up takes 3 s", base_url = "https://slow.example", seconds = 3.5,
    -- a sanitizer would rather be first among those that are preloaded
    environment = ("LD_PRELOAD=%s ASAN_OPTIONS=verify_asan_link_order=0"):format(resolver) },
  { "no handshake ends", tls = "good", script = "conn:raw() conn:hold()" },
  { "a byte a second", tls = "good", script = [[
    conn:request()
    while not conn.closed and conn:write(n % 2 == 0 and "H" or "HTTP/1.1 200 OK\r\nX: ") do conn:sleep(1) end ]] },
  { "1,000 are answered", tls = "good", script = [[
    while conn:request() do conn:sleep(0.01) conn:write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}') end ]] },
  { "tokens and 429s", tls = "good", script = THROTTLING, credentials = "function" },
  { "logins and 429s", tls = "good", script = THROTTLING, credentials = "login" },
  { "300 stand over TLS", tls = "good", script = "conn:request() conn:hold()", connections = 300, seconds = 2 },
}

local function run(scenario, collects)
  local server = scenario.script and fault.serve{ tls = scenario.tls, script = scenario.script }
  local pipe = assert(io.popen(("env %s %s spec/bench/latency.lua child '%s' %s '%s' %s %d %s %s"):format(
    scenario.environment or "", LUA, scenario[1]:gsub(",", ""), server and server.base_url or scenario.base_url, fault.ca_file or "",
    scenario.seconds or arg[1] == "machine" and 0.4 or 1.2, scenario.connections or 32, collects and "gc" or "none",
    scenario.credentials or "string")))
  local rows = {}
  for line in pipe:lines() do rows[#rows + 1] = line end
  pipe:close()
  if server then server:close() end
  assert(#rows == #OPERATIONS, "expected a row for each operation, found: " .. table.concat(rows, "\n"))
  return rows
end

local function held_of(row) return tonumber(row:match("[^,]+$")) end

-- Of each operation the round in which it was held least.
local function quietest(scenario, collects)
  local best = run(scenario, collects)
  for _ = 2, ROUNDS do
    for i, row in ipairs(run(scenario, collects)) do
      if held_of(row) < held_of(best[i]) then best[i] = row end
    end
  end
  return best
end

local function main()
  if arg[1] ~= "machine" then
    print(("%-20s %-10s %8s %9s %9s %9s %9s %9s %9s   microseconds"):format("while", "", "calls", "median", "99 %",
      "99.9 %", "worst", "held", "no gc"))
  end
  for _, scenario in ipairs(SCENARIOS) do
    if arg[1] == "machine" then
      for _, row in ipairs(run(scenario, true)) do print(row) end
    else
      local without = quietest(scenario, false)
      for i, row in ipairs(quietest(scenario, true)) do
        row = ("%s,%.1f"):format(row, held_of(without[i]))
        print(("%-20s %-10s %8s %9s %9s %9s %9s %9s %9s"):format(row:match("^" .. ("(.-),"):rep(8) .. "(.-)$")))
      end
    end
  end
end

local ok, why = pcall(main)
os.remove(resolver)
fault.stop()
if not ok then
  io.stderr:write("latency: ", tostring(why), "\n")
  os.exit(1)
end
