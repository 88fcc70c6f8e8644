-- run.lua PATH_OF_BARE: instructions per blocking call (one SKU, plain HTTP, kept alive), beside bare libcurl's.
-- Each is callgrind's count for 2N calls less that for N, so that starting up and connecting drop out. Instructions do
-- not depend on the machine's mood; what the kernel does for a call is not among them, nor is waiting.
local bare = assert(arg[1], "usage: run.lua PATH_OF_BARE")
local N = tonumber(os.getenv("BENCH_N") or 500)

local temporary = os.tmpname()
local server, url

local function start_server()
  server = assert(io.popen(("lua5.4 spec/bench/server.lua %s"):format(temporary), "w"))
  local deadline = os.time() + 10
  repeat
    local file = io.open(temporary)
    local port = file and file:read("*l")
    if file then file:close() end
    if port then
      url = "http://127.0.0.1:" .. port
      return
    end
    os.execute("sleep 0.05")
  until os.time() > deadline
  error("the server did not start")
end

-- Where an instruction was run, by the name of the file that holds it.
local GROUPS = {
  { "crux", "crux/core%.so$" }, { "cjson", "cjson[^/]*%.so" }, { "libcurl", "libcurl" },
  { "lua", "lua" }, { "libc", "libc[.-]" }, { "libc", "ld%-linux" }, { "libc", "libpthread" },
}
local SHOWN = { "libcurl", "libc", "crux", "cjson", "lua", "other" }

local function group_of(object)
  for _, row in ipairs(GROUPS) do
    if object:find(row[2]) then return row[1] end
  end
  return "other"
end

-- Reads callgrind's file: self cost summed by group. A line after `calls=` is the callee's cost and not counted.
local function count(command)
  local out = temporary .. ".callgrind"
  local status = os.execute(("valgrind -q --tool=callgrind --callgrind-out-file=%s --trace-children=no %s")
    :format(out, command))
  assert(status == true or status == 0, "failed: " .. command)
  local names, costs, total = {}, {}, 0
  local object, skip = "", false
  for line in io.lines(out) do
    local id, name = line:match("^ob=(%(%d+%))%s*(.*)")
    if id then
      if name ~= "" then names[id] = name end
      object = names[id]
    elseif line:find("^cob=") then
      id, name = line:match("^cob=(%(%d+%))%s*(.*)")
      if name ~= "" then names[id] = name end
    elseif line:find("^calls=") then
      skip = true
    elseif line:find("^[%d+*-]") then
      if not skip then
        local cost = tonumber(line:match("^%S+%s+(%d+)") or 0)
        local group = group_of(object)
        costs[group] = (costs[group] or 0) + cost
        total = total + cost
      end
      skip = false
    end
  end
  os.remove(out)
  costs.total = total
  return costs
end

local function per_call(command)
  local once, twice = count(command:format(url, N)), count(command:format(url, 2 * N))
  local each = {}
  for group, cost in pairs(twice) do each[group] = (cost - (once[group] or 0)) / N end
  return each
end

local lua = os.getenv("TEST_LUA") or "lua5.4"
local rows = {
  { "libcurl alone, from C", bare .. " %s/orders/cancel/ %d" },
  { "crux.core.cancel_order", lua .. " spec/bench/call.lua %s %d core" },
  { "client:cancel_order", lua .. " spec/bench/call.lua %s %d client" },
}

local function main()
  start_server()
  print(("instructions per blocking call, mean of %d"):format(N))
  local heading = ("%-24s %9s %7s  "):format("", "total", "ratio")
  for _, group in ipairs(SHOWN) do heading = heading .. ("%9s"):format(group) end
  print(heading)
  local base
  for _, row in ipairs(rows) do
    local each = per_call(row[2])
    base = base or each.total
    local line = ("%-24s %9.0f %7.2f  "):format(row[1], each.total, each.total / base)
    for _, group in ipairs(SHOWN) do line = line .. ("%9.0f"):format(each[group] or 0) end
    print(line)
  end
end

local ok, why = pcall(main)
if server then server:close() end
os.remove(temporary)
os.remove(temporary .. ".callgrind")
if not ok then
  io.stderr:write("bench: ", tostring(why), "\n")
  os.exit(1)
end
