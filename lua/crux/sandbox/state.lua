--- What a sandbox keeps in a file, so that it goes on where it was after a restart, even one after
-- SIGKILL. The file has a line of JSON for each change, `[kind, name, value]`; of those with the
-- same kind and name the last one holds. It is written anew, without the others, when it is opened.
-- @module crux.sandbox.state

local json = require "crux.sandbox.json"

local State = {}
State.__index = State

local function put(file, kind, name, value)
  file:write(json.encode(json.list{ kind, name, value }), "\n")
end

local function load_into(values, path)
  local file = io.open(path)
  if not file then return end
  for line in file:lines() do
    -- the last one may have been cut off
    local row = json.decode(line)
    if row then
      values[row[1]] = values[row[1]] or {}
      values[row[1]][row[2]] = row[3]
    end
  end
  file:close()
end

--- Open a file, and make it if it is not there.
-- @tparam string path
-- @treturn table `values`, by kind and name: what was kept before
local function open(path)
  local values = {}
  load_into(values, path)
  local temporary = path .. ".new"
  local file = assert(io.open(temporary, "w"))
  for kind, rows in pairs(values) do
    for name, value in pairs(rows) do put(file, kind, name, value) end
  end
  file:close()
  assert(os.rename(temporary, path))
  file = assert(io.open(path, "a"))
  file:setvbuf("line")
  return setmetatable({ path = path, values = values, file = file }, State)
end

--- The value of that kind and name that was kept before; nil if there is none.
function State:get(kind, name) return self.values[kind] and self.values[kind][name] end

--- Keep a value from now on: what JSON has, objects with strings as names.
function State:put(kind, name, value)
  if self.file then put(self.file, kind, name, value) end
end

function State:close()
  if self.file then self.file:close() end
  self.file = nil
end

return { open = open }
