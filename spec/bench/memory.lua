-- memory.lua LOOP: KiB of memory per call that is connected and waits for its answer, beside a
-- libcurl multi loop (the program LOOP, made of loop.c). Each program makes one call, so that what
-- it needs once is there, and then CALLS that are not answered. What it has grown by is divided by
-- CALLS. Over TLS, both trust the system's CA bundle and the bench's own CA.
--
-- In use is what stays resident when malloc has given its free memory back to the kernel
-- (malloc_trim). Without that, resident memory includes what the handshakes freed. How much of it
-- malloc keeps depends on how many handshakes overlap, and varies by 10 % from run to run.
--
-- The two programs take turns, RUNS times, and the medians are shown. The bench fails above the
-- limit; with BENCH_LIMITS=off it reports and does not fail.
local server = require "spec.bench.server"

local LOOP = assert(arg[1], "usage: memory.lua LOOP")
local LUA = os.getenv("TEST_LUA") or "lua5.4"
local CALLS, RUNS = 1000, 5
local LIMIT = 1.00 -- of what is in use, in times of libcurl
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

-- KiB per call: in use, and resident.
local function measure(service, command)
  local pipe = assert(io.popen("ulimit -n 4096; exec " .. command))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(service.dir .. "/held")
  local in_use, resident = text:match("^(%S+) (%S+)\n$")
  return {
    in_use = assert(tonumber(in_use), "expected two numbers from: " .. command),
    resident = tonumber(resident),
  }
end

local function median(runs, name)
  local values = {}
  for i, run in ipairs(runs) do values[i] = run[name] end
  table.sort(values)
  return values[math.ceil(#values / 2)]
end

local function main(service)
  local ca_file, exceeded = service.dir .. "/bundle.pem", {}
  concatenate(ca_file, BUNDLE, service.ca_file)
  print(("KiB per waiting call, with %d in flight"):format(CALLS))
  print(("%-16s %8s %8s %8s %6s"):format("", "libcurl", "crux", "ratio", "limit"))
  for _, how in ipairs{ "plain", "tls" } do
    local url = ("%s/hold%d"):format(service[how], CALLS)
    local rest = ("1 %d %s %s/held"):format(CALLS, ca_file, service.dir)
    local alone, crux = {}, {}
    for i = 1, RUNS do
      alone[i] = measure(service, ("%s %s/orders/cancel/ %s"):format(LOOP, url, rest))
      crux[i] = measure(service, ("%s spec/bench/flight.lua %s %s"):format(LUA, url, rest))
    end
    for _, name in ipairs{ "in_use", "resident" } do
      local what = ("%s, %s"):format(how, (name:gsub("_", " ")))
      local theirs, ours = median(alone, name), median(crux, name)
      local ratio, limit = ("%.2f"):format(ours / theirs), name == "in_use" and LIMIT
      print(("%-16s %8.1f %8.1f %8s %6s"):format(what, theirs, ours, ratio,
        limit and ("%.2f"):format(limit) or ""))
      if limit and tonumber(ratio) > limit then
        exceeded[#exceeded + 1] = ("%s: expected at most %.2f, found %s"):format(what, limit, ratio)
      end
    end
  end
  if exceeded[1] and os.getenv("BENCH_LIMITS") ~= "off" then
    error("above the limit:\n  " .. table.concat(exceeded, "\n  "), 0)
  end
end

local service = server.start()
local ok, why = pcall(main, service)
service.close()
if not ok then
  io.stderr:write("memory: ", tostring(why), "\n")
  os.exit(1)
end
