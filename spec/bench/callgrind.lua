--- Instructions of a command, counted by callgrind. The kernel's part is not counted.
-- @module spec.bench.callgrind
local callgrind = {}

-- Where an instruction was run, by the file that holds it; the first pattern that fits. The
-- yardsticks and the helpers of the specs are "other".
local GROUPS = {
  { "crux", "crux/core%.so$" }, { "cjson", "cjson[^/]*$" }, { "libcurl", "/libcurl[^/]*$" },
  { "ssl", "/libssl[^/]*$" }, { "ssl", "/libcrypto[^/]*$" }, { "ssl", "/libgnutls[^/]*$" },
  { "ssl", "/libnettle[^/]*$" }, { "ssl", "/libhogweed[^/]*$" }, { "ssl", "/libgmp[^/]*$" },
  { "lua", "/lua[^/]*$" }, { "lua", "/liblua[^/]*$" },
  { "libc", "/libc[.-][^/]*$" }, { "libc", "/libm[.-][^/]*$" }, { "libc", "/libpthread[^/]*$" },
  { "libc", "/ld%-linux[^/]*$" },
}

--- The groups, in the order of a table's columns.
callgrind.GROUPS = { "libcurl", "libc", "ssl", "crux", "cjson", "lua", "other" }

--- Options for `count`: counts only inside `measured`, of loop.c and spec/support/fork.c.
callgrind.MEASURED = "--instr-atstart=no"

local function group_of(object)
  for _, row in ipairs(GROUPS) do
    if object:find(row[2]) then return row[1] end
  end
  return "other"
end

-- Reads callgrind's file. In it, a line after `calls=` is what the called function cost.
local function read(path)
  local objects, functions, self, inclusive = {}, {}, { total = 0 }, {}
  local group, name, is_call = "other", "", false
  for line in io.lines(path) do
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
  return self, inclusive
end

--- Runs a command under callgrind.
-- @tparam string command
-- @tparam[opt] string options callgrind's
-- @treturn table the instructions of each group, and `total`
-- @treturn table of each of crux's C functions, with what it calls
function callgrind.count(command, options)
  local out = os.tmpname()
  local run = "valgrind -q --tool=callgrind --callgrind-out-file=%s %s %s >/dev/null"
  run = run:format(out, options or "", command)
  local status = os.execute(run)
  local ok, self, inclusive = pcall(read, out)
  os.remove(out)
  assert((status == true or status == 0) and ok, "expected this to run: " .. run)
  return self, inclusive
end

return callgrind
