-- memory.lua LOOP: KiB of memory per call that is connected and waits for its answer, beside a
-- libcurl multi loop (the program LOOP, made of loop.c). Each program makes one call, so that what
-- it needs once is there, and then CALLS that are not answered. What it has grown by is divided by
-- CALLS; the median of RUNS is shown. Over TLS, both trust the system's CA bundle and the bench's
-- own CA.
local server = require "spec.bench.server"

local LOOP = assert(arg[1], "usage: memory.lua LOOP")
local LUA = os.getenv("TEST_LUA") or "lua5.4"
local CALLS, RUNS = 1000, 3
local BUNDLE = "/etc/ssl/certs/ca-certificates.crt"

local function concatenate(into, ...)
  local out = assert(io.open(into, "w"))
  for _, path in ipairs{ ... } do
    local file = assert(io.open(path))
    out:write(file:read("*a"))
    file:close()
  end
  out:close()
end

local function measure(service, command)
  local found = {}
  for i = 1, RUNS do
    local pipe = assert(io.popen("ulimit -n 4096; exec " .. command))
    local text = pipe:read("*a")
    pipe:close()
    os.remove(service.dir .. "/held")
    found[i] = assert(tonumber(text), "expected a number from: " .. command)
  end
  table.sort(found)
  return found[math.ceil(RUNS / 2)]
end

local function main(service)
  local ca_file = service.dir .. "/bundle.pem"
  concatenate(ca_file, BUNDLE, service.ca_file)
  print(("KiB per waiting call, with %d in flight"):format(CALLS))
  print(("%-8s %8s %8s %8s   aim: crux at most libcurl"):format("", "libcurl", "crux", "ratio"))
  for _, how in ipairs{ "plain", "tls" } do
    local url = ("%s/hold%d"):format(service[how], CALLS)
    local rest = ("1 %d %s %s/held"):format(CALLS, ca_file, service.dir)
    local alone = measure(service, ("%s %s/orders/cancel/ %s"):format(LOOP, url, rest))
    local crux = measure(service, ("%s spec/bench/flight.lua %s %s"):format(LUA, url, rest))
    print(("%-8s %8.1f %8.1f %8.2f"):format(how, alone, crux, crux / alone))
  end
end

local service = server.start()
local ok, why = pcall(main, service)
service.close()
if not ok then
  io.stderr:write("memory: ", tostring(why), "\n")
  os.exit(1)
end
