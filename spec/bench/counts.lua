-- counts.lua BARE LOOP: instructions and system calls per call, beside libcurl alone (the programs
-- BARE and LOOP, made of bare.c and loop.c). The case is a real one: the server answers like nginx,
-- with a body of JSON, and the arguments are made anew for each call.
--
-- One at a time: what 2N calls take less what N take, so that start-up and connecting drop out. In
-- flight: what N calls take once all connections stand, because 256 handshakes vary by more than a
-- call costs; from the start of the first to the end of the last, with no other call under way. (A
-- window inside a longer run begins and ends within a batch of up to 64 calls: with N = 1,000 that
-- moved what libcurl takes over TLS by 6 %.) Each number is the median of RUNS.
--
-- The bench fails above a limit, but only with the libcurl that the limits are for; with
-- BENCH_LIMITS=off it reports and does not fail.
local callgrind = require "spec.bench.callgrind"
local server = require "spec.bench.server"

local BARE, LOOP = arg[1], arg[2]
assert(LOOP, "usage: counts.lua BARE LOOP")
local LUA = os.getenv("TEST_LUA") or "lua5.4"

local LIMITS_ARE_FOR = "^libcurl/7%.88%.%d+ OpenSSL/" -- Debian 12's
-- Instructions, in times of libcurl alone.
local LIMIT_PLAIN, LIMIT_TLS = 0.75, 0.85
local LIMIT_PLAIN_IN_FLIGHT, LIMIT_TLS_IN_FLIGHT = 1.3, 1.0
-- System calls of one call at a time.
local LIMIT_SYSTEM_CALLS_PLAIN, LIMIT_SYSTEM_CALLS_TLS = 7, 10

local IN_FLIGHT = 256
-- How many calls to count, one at a time and in flight, and to time.
local N, FLIGHT_N = 500, 2000
local TRACED_N, TRACED_FLIGHT_N = 200, 2000
local TIMED_N = 10000
local RUNS, TIMED_RUNS = 3, 5

-- How long the server takes to answer, in ms. An answer that is there before the client first looks
-- for it saves the client a wait. On loopback that happens on some calls, on a network on none.
local PATH = "/wait2"
-- In flight, at first all at once: else some connections might be made while calls are counted.
local IN_FLIGHT_PATH = ("/gather%d%s"):format(IN_FLIGHT, PATH)

local function succeeds(command)
  local status = os.execute(command)
  return status == true or status == 0
end

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

local function median(list, of)
  table.sort(list, function(a, b) return of(a) < of(b) end)
  return list[math.ceil(#list / 2)]
end

-- --- what is counted; COUNT in a command stands for the number of calls ---

local function with_count(command, count) return (command:gsub("COUNT", count)) end

local function each(twice, once, count)
  local difference = {}
  for key, value in pairs(twice) do difference[key] = (value - (once[key] or 0)) / count end
  return difference
end

-- Instructions per call: of each group, and of each C function of crux with what it calls.
local function instructions(command, in_flight)
  local runs = {}
  for i = 1, RUNS do
    if in_flight then
      local self, functions = callgrind.count(with_count(command, FLIGHT_N), callgrind.MEASURED)
      runs[i] = { self = each(self, {}, FLIGHT_N), functions = each(functions, {}, FLIGHT_N) }
    else
      local self, functions = callgrind.count(with_count(command, N))
      local self2, functions2 = callgrind.count(with_count(command, 2 * N))
      runs[i] = { self = each(self2, self, N), functions = each(functions2, functions, N) }
    end
  end
  local run = median(runs, function(one) return one.self.total end)
  return run.self, run.functions
end

local can_trace = succeeds("strace -f -c -o /dev/null true >/dev/null 2>&1")

local function trace(command)
  local path = os.tmpname()
  local run = ("strace -f -c -o %s %s >/dev/null"):format(path, command)
  assert(succeeds(run), "expected this to run: " .. run)
  local total = 0
  for line in io.lines(path) do
    -- share of time, seconds, microseconds per call, calls, errors if any, name
    local count, name = line:match("^%s*[%d.]+%s+[%d.]+%s+%d+%s+(%d+)%s.-(%S+)$")
    if count and name ~= "total" then total = total + tonumber(count) end
  end
  os.remove(path)
  return total
end

-- System calls per call, or nil.
local function system_calls(command, in_flight)
  if not can_trace then return nil end
  local count, runs = in_flight and TRACED_FLIGHT_N or TRACED_N, {}
  for i = 1, RUNS do
    runs[i] = (trace(with_count(command, 2 * count)) - trace(with_count(command, count))) / count
  end
  return median(runs, function(calls) return calls end)
end

-- Microseconds of processor time per call, which the programs for calls in flight print.
local function processor_time(command)
  local command_line = with_count(command, TIMED_N)
  return assert(tonumber(output(command_line)), "expected a number from: " .. command_line)
end

-- --- what is run, and how it is told ---

local CASES = {
  { name = "one at a time, plain",
    limit = LIMIT_PLAIN, limit_system_calls = LIMIT_SYSTEM_CALLS_PLAIN },
  { name = "one at a time, TLS", tls = true,
    limit = LIMIT_TLS, limit_system_calls = LIMIT_SYSTEM_CALLS_TLS },
  { name = IN_FLIGHT .. " in flight, plain", in_flight = true, limit = LIMIT_PLAIN_IN_FLIGHT },
  { name = IN_FLIGHT .. " in flight, TLS", in_flight = true, tls = true,
    limit = LIMIT_TLS_IN_FLIGHT },
}

-- The commands of a case: libcurl alone, and crux.
local function commands(case, service)
  local url = (case.tls and service.tls or service.plain)
    .. (case.in_flight and IN_FLIGHT_PATH or PATH)
  local ca_file = case.tls and service.ca_file or ""
  if case.in_flight then
    return ("%s %s/orders/cancel/ COUNT %d %s"):format(LOOP, url, IN_FLIGHT, ca_file),
      ("%s spec/bench/flight.lua %s COUNT %d %s"):format(LUA, url, IN_FLIGHT, ca_file)
  end
  return ("%s %s/orders/cancel/ COUNT %s"):format(BARE, url, ca_file),
    ("%s spec/bench/call.lua %s COUNT %s"):format(LUA, url, ca_file)
end

local function print_heading()
  local line = ("%-30s %7s %6s %6s "):format("instructions per call", "total", "ratio", "limit")
  for _, group in ipairs(callgrind.GROUPS) do line = line .. ("%8s"):format(group) end
  print(line .. "  system calls  limit")
end

local function print_row(what, self, ratio, limit, calls, limit_calls)
  local function shown(form, value) return value and form:format(value) or "" end
  local line = ("%-30s %7.0f %6.2f %6s "):format(what, self.total, ratio, shown("%.2f", limit))
  for _, group in ipairs(callgrind.GROUPS) do line = line .. ("%8.0f"):format(self[group] or 0) end
  print(line .. ("  %12s  %5s"):format(shown("%.1f", calls), shown("%d", limit_calls)))
end

local function print_functions(functions, least)
  local names = {}
  for name, cost in pairs(functions) do
    -- callgrind marks the levels of a recursion by a '
    if cost >= least and not name:find("'") then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return functions[a] > functions[b] end)
  print("\ncrux's C functions with what they call, one at a time, plain")
  for _, name in ipairs(names) do print(("%-30s %7.0f"):format(name, functions[name])) end
end

local function print_processor_time(service)
  print(("\nprocessor time per call with %d in flight, microseconds"):format(IN_FLIGHT))
  for _, case in ipairs(CASES) do
    if case.in_flight then
      local alone, crux = commands(case, service)
      local runs = {}
      for i = 1, TIMED_RUNS do
        runs[i] = { alone = processor_time(alone), crux = processor_time(crux) }
        runs[i].ratio = runs[i].crux / runs[i].alone
      end
      local run = median(runs, function(one) return one.ratio end)
      print(("%-30s libcurl %6.1f  crux %6.1f  ratio %5.2f"):format(case.name, run.alone, run.crux,
        run.ratio))
    end
  end
end

local function main(service)
  local exceeded = {}
  local function hold(what, limit, found, form)
    local printed = found and form:format(found)
    if limit and found and tonumber(printed) > limit then
      exceeded[#exceeded + 1] = ("%s: expected at most %s, found %s"):format(what, limit, printed)
    end
  end

  print_heading()
  local functions_of_first, least
  for _, case in ipairs(CASES) do
    local alone, crux = commands(case, service)
    local base = instructions(alone, case.in_flight)
    print_row(case.name .. "  libcurl", base, 1, nil, system_calls(alone, case.in_flight))
    local self, functions = instructions(crux, case.in_flight)
    local calls, ratio = system_calls(crux, case.in_flight), self.total / base.total
    print_row((" "):rep(#case.name) .. "  crux", self, ratio, case.limit, calls,
      case.limit_system_calls)
    hold(case.name .. ", times of libcurl alone", case.limit, ratio, "%.2f")
    hold(case.name .. ", system calls", case.limit_system_calls, calls, "%.1f")
    if not functions_of_first then functions_of_first, least = functions, base.total / 100 end
  end
  if not can_trace then print("system calls are not counted: ptrace is not permitted here") end
  local arguments = instructions(LUA .. " spec/bench/call.lua none COUNT")
  print(("of crux's: %.0f to make the arguments"):format(arguments.total))
  print_processor_time(service)
  print_functions(functions_of_first, least)

  local version = output(BARE)
  if not version:find(LIMITS_ARE_FOR) then
    print("\nthe limits are for Debian 12's libcurl 7.88, and not for " .. version:match("%S+"))
  elseif exceeded[1] then
    local text = "above the limits:\n  " .. table.concat(exceeded, "\n  ")
    if os.getenv("BENCH_LIMITS") ~= "off" then error(text, 0) end
    print("\n" .. text)
  end
end

local service = server.start()
local ok, why = pcall(main, service)
service.close()
if not ok then
  io.stderr:write("counts: ", tostring(why), "\n")
  os.exit(1)
end
