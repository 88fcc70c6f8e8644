-- run.lua PATH_OF_BARE: instructions per blocking call (one SKU, plain HTTP, kept alive), beside bare libcurl's.
-- Each is callgrind's count for 2N calls less that for N, so that starting up and connecting drop out, and the median of
-- three: how often a call finds its answer not yet there varies a little. The kernel's part is not counted.
local bare = assert(arg[1], "usage: run.lua PATH_OF_BARE")
local N = tonumber(os.getenv("BENCH_N") or 500)

-- What the last row may come to, in times of bare libcurl. It aims at 1.25; how often curl finds nothing to read yet, and
-- looks again, differs from machine to machine.
local LIMIT = 1.4

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

-- Reads callgrind's file. Two sums: `self`, by group, where a line after `calls=` is the callee's cost and not counted;
-- `inclusive`, by function of crux's C code, where it is.
local function count(command)
  local out = temporary .. ".callgrind"
  local status = os.execute(("valgrind -q --tool=callgrind --callgrind-out-file=%s --trace-children=no %s")
    :format(out, command))
  assert(status == true or status == 0, "failed: " .. command)
  local objects, functions, self, inclusive = {}, {}, { total = 0 }, {}
  local group, name, is_call = "other", "", false
  for line in io.lines(out) do
    local key, id, text = line:match("^(c?%l%l)=(%(%d+%))%s*(.*)")
    if key == "ob" or key == "cob" then
      if text ~= "" then objects[id] = group_of(text) end
      if key == "ob" then group = objects[id] end
    elseif key == "fn" or key == "cfn" then
      if text ~= "" then functions[id] = text end
      if key == "fn" then name = functions[id] end
    elseif line:find("^calls=") then
      is_call = true
    elseif line:find("^[%d+*-]") then
      local cost = tonumber(line:match("^%S+%s+(%d+)") or 0)
      if group == "crux" then inclusive[name] = (inclusive[name] or 0) + cost end
      if not is_call then
        self[group] = (self[group] or 0) + cost
        self.total = self.total + cost
      end
      is_call = false
    end
  end
  os.remove(out)
  return self, inclusive
end

local function per_call(command)
  local function each(twice, once)
    local difference = {}
    for key, cost in pairs(twice) do difference[key] = (cost - (once[key] or 0)) / N end
    return difference
  end
  local runs = {}
  for i = 1, 3 do
    local self, inclusive = count(command:format(url, N))
    local self2, inclusive2 = count(command:format(url, 2 * N))
    runs[i] = { self = each(self2, self), inclusive = each(inclusive2, inclusive) }
  end
  table.sort(runs, function(a, b) return a.self.total < b.self.total end)
  return runs[2].self, runs[2].inclusive
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
  local base, each, inclusive
  for _, row in ipairs(rows) do
    each, inclusive = per_call(row[2])
    base = base or each.total
    local line = ("%-24s %9.0f %7.2f  "):format(row[1], each.total, each.total / base)
    for _, group in ipairs(SHOWN) do line = line .. ("%9.0f"):format(each[group] or 0) end
    print(line)
  end
  print("\nthe last one's C functions, with what they call (libcurl included)")
  local names = {}
  for name, cost in pairs(inclusive) do
    if cost >= base / 100 and not name:find("'") then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return inclusive[a] > inclusive[b] end)
  for _, name in ipairs(names) do print(("%-24s %9.0f"):format(name, inclusive[name])) end
  assert(each.total <= base * LIMIT, ("expected at most %.2f times bare libcurl, found %.2f"):format(LIMIT, each.total / base))
end

local ok, why = pcall(main)
if server then server:close() end
os.remove(temporary)
os.remove(temporary .. ".callgrind")
if not ok then
  io.stderr:write("bench: ", tostring(why), "\n")
  os.exit(1)
end
