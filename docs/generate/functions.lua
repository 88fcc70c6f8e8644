-- The public functions, as the comments of lua/ describe them: for docs/reference.md and library/.
local comments = require "generate.comments"

local functions = {}

-- Comments are read once.
local read = setmetatable({}, { __index = function(self, path)
  local entries = {}
  for _, entry in ipairs(comments.read(path)) do
    if not entry.is_local then entries[#entries + 1] = entry end
  end
  self[path] = entries
  return entries
end })

local function find(path, name)
  for _, entry in ipairs(read[path]) do
    if entry.name == name then return entry end
  end
  error(("%s: expected a comment on %s"):format(path, name), 0)
end

local function methods(path, class)
  local list = {}
  for _, entry in ipairs(read[path]) do
    local name = entry.name:match("^" .. class .. ":([%w_]+)$")
    if name then list[#list + 1] = { name = name, entry = entry } end
  end
  return list
end

--- Functions of the module `crux`, but for its calls: a list of `{ name, entry }`.
function functions.crux()
  return {
    { name = "new", entry = find("lua/crux/client.lua", "Client.new") },
    { name = "assert", entry = find("lua/crux/assert.lua", "crux.assert") },
    { name = "cancellation", entry = find("lua/crux/cancellation.lua", "crux.cancellation") },
  }
end

--- Fields of the module `crux`.
function functions.fields()
  local list = {}
  for _, entry in ipairs(read["lua/crux.lua"]) do
    if entry.is_field then list[#list + 1] = { name = entry.name, entry = entry } end
  end
  return list
end

--- Methods of a client, but for its calls.
function functions.client()
  return methods("lua/crux/client.lua", "Client")
end

--- Methods of a pending call.
function functions.pending() return methods("lua/crux/pending.lua", "Pending") end

--- The function of the module `crux.mock`.
function functions.mock() return { { name = "new", entry = find("lua/crux/mock.lua", "mock.new") } } end

--- The functions of the module `crux.fleet`.
function functions.fleet()
  local list = {}
  for i, name in ipairs{ "new", "token_cache" } do
    list[i] = { name = name, entry = find("lua/crux/fleet.lua", "Fleet." .. name) }
  end
  return list
end

--- Methods of a fleet.
function functions.fleet_methods() return methods("lua/crux/fleet.lua", "Fleet") end

-- First words of a description that are the value's name.
local NAMES = { done = true, result = true, err = true, report = true, cancellation = true }

--- What a function returns, by position: a list of `{ type, name, doc, optional }`. Groups, such as `result` and
-- `nil, err`, are put above each other.
function functions.returns(entry)
  local positions, last, at = {}, nil, 0
  for _, value in ipairs(entry.returns) do
    at = value.group == last and at + 1 or 1
    last = value.group
    local position = positions[at] or { types = {}, group = value.group }
    positions[at] = position
    if value.group ~= position.group then position.optional = true end
    if value.type == "nil" then position.optional = true
    else
      if value.type:find("^%?") then position.optional = true end
      position.type = value.type:gsub("^%?", "")
      local word, rest = value.doc:match("^(%a+)%s*(.*)$")
      position.name = NAMES[word] and word or nil
      position.doc = position.name and rest or value.doc
    end
  end
  -- a position that only some of the groups have
  local groups, counts, number = {}, {}, 0
  for _, value in ipairs(entry.returns) do
    if not groups[value.group] then groups[value.group], number = true, number + 1 end
    counts[value.group] = (counts[value.group] or 0) + 1
  end
  for i, position in ipairs(positions) do
    for _, count in pairs(counts) do
      if count < i then position.optional = true end
    end
    position.optional = position.optional or false
  end
  return positions
end

return functions
