-- What the writers ask of lua/crux/api.lua: types taken apart, routes, hints and defaults worked out.
local api = require "crux.api"

local model = { api = api }

--- A field's type taken apart.
-- @treturn table `list` (whether it is a list), `name` (of the type, or of a list's items), and `type` (a row of
--   `api.types`) or `object` (a row of `api.objects`), or neither for a choice
function model.type_of(field)
  local item = field[2]:match("^list of (.+)$")
  local name = item or field[2]
  local type, object = api.types[name], api.objects[name]
  if not (type or object or name == "choice" and field.choices) then
    error(("expected a type of lua/crux/api.lua, found '%s' of %s"):format(field[2], field[1]), 0)
  end
  return { list = item ~= nil, name = name, type = type, object = object }
end

--- The range of a field, of a list's items in number: low, high; nil where there is no limit.
function model.range(field)
  local type = model.type_of(field)
  if type.list then return field.low or 1, field.high end
  local low, high = field.low, field.high
  if low == nil and type.type then low = type.type.low end
  if high == nil and type.type then high = type.type.high end
  return low, high or nil
end

--- A number as digits.
function model.digits(number)
  return number == math.floor(number) and ("%.0f"):format(number) or ("%.2f"):format(number)
end

--- The method and the path of an endpoint.
function model.route(endpoint)
  local method, path = endpoint.route:match("^(%u+) (/%S*)$")
  if not method then error(("expected METHOD /path/, found '%s'"):format(endpoint.route), 0) end
  for name in path:gmatch("{([^}]*)}") do
    local found = false
    for _, field in ipairs(endpoint.fields) do
      found = found or field[1] == name and field[2] == "uuid" and field.required
    end
    if not found then
      error(("%s: expected a required uuid field '%s', for the path"):format(endpoint.name, name), 0)
    end
  end
  return method, path
end

--- The name of the endpoint that shows what came of this one; nil if there is none.
function model.look(endpoint)
  for _, other in ipairs(api.endpoints) do
    if other.name == endpoint.look then return other.name end
  end
  if endpoint.look then
    error(("%s: expected the name of an endpoint, found '%s'"):format(endpoint.name, endpoint.look), 0)
  end
end

--- Whether a field of an endpoint is sent in the path.
function model.in_path(endpoint, field)
  return endpoint.route:find("{" .. field[1] .. "}", 1, true) ~= nil
end

--- Whether anything is sent as a body.
function model.has_body(endpoint)
  for _, field in ipairs(endpoint.fields) do
    if not model.in_path(endpoint, field) then return true end
  end
  return false
end

--- The names of the generations that have an endpoint, in order.
function model.generations(endpoint)
  local names, wanted = {}, {}
  for _, name in ipairs(endpoint.generations or {}) do wanted[name] = true end
  for _, generation in ipairs(api.generations) do
    if not endpoint.generations or wanted[generation.name] then names[#names + 1] = generation.name end
    wanted[generation.name] = nil
  end
  if next(wanted) then
    error(("%s: expected a generation, found '%s'"):format(endpoint.name, next(wanted)), 0)
  end
  return names
end

local function shared_hint(status)
  for _, row in ipairs(api.statuses) do
    if row[1] == status then return row.hint end
  end
end

--- The hints of an endpoint alone, its own and those that its permission and its party give: a list of
-- `{ status, hint }`.
function model.hints(endpoint)
  local hints, list = {}, {}
  if endpoint.permission then hints[403] = shared_hint(403) .. " " .. endpoint.permission end
  if endpoint.party then
    hints[409] = ("%s: %s is for %ss"):format(shared_hint(409), endpoint.name, endpoint.party)
  end
  for status, hint in pairs(endpoint.hints or {}) do hints[status] = hint end
  for status, hint in pairs(hints) do list[#list + 1] = { status, hint } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function in_range(text, field)
  local low, high = model.range(field)
  if low and high then return ("%s, %s to %s"):format(text, model.digits(low), model.digits(high)) end
  if low then return ("%s, from %s"):format(text, model.digits(low)) end
  return high and ("%s, at most %s"):format(text, model.digits(high)) or text
end

--- A field's type in words, with its range: Markdown, with links to the objects and types of the reference page.
function model.describe(field)
  local type = model.type_of(field)
  local text = ("[%s](#%s)"):format(type.name, type.name)
  if type.name == "choice" then
    local quoted = {}
    for i, choice in ipairs(field.choices) do quoted[i] = ('`"%s"`'):format(choice) end
    text = "one of " .. table.concat(quoted, ", ")
  end
  if not type.list then return in_range(text, field) end
  local low, high = model.range(field)
  if high then return ("list of %s to %s: %s"):format(model.digits(low), model.digits(high), text) end
  return (low == 1 and "list of %s" or "list of at least " .. model.digits(low) .. ": %s"):format(text)
end

--- The default of an option in words, with the environment variables that set it.
function model.default(option)
  local default = option.default_doc
  if not default and option.default ~= nil then
    default = type(option.default) == "string" and ('`"%s"`'):format(option.default) or tostring(option.default)
  end
  local names = {}
  for _, name in ipairs(option.environment or {}) do names[#names + 1] = ("`%s`"):format(name) end
  if #names == 0 then return default or "none" end
  return table.concat(names, ", ") .. (default and ", else " .. default or "")
end

--- A field's value as Lua source, the keys of an object in the order of its fields.
function model.source(value, field)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local type, parts = model.type_of(field), {}
  if type.list then
    for i, item in ipairs(value) do parts[i] = model.source(item, { type.name, type.name }) end
  else
    for _, inner in ipairs(type.object.fields) do
      local found = value[inner[1]]
      if found ~= nil then parts[#parts + 1] = inner[1] .. " = " .. model.source(found, inner) end
    end
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- The names of the objects that are used, in the order of their first use.
function model.objects()
  local names, seen = {}, {}
  local function walk(fields)
    for _, field in ipairs(fields) do
      local type = model.type_of(field)
      if type.object and not seen[type.name] then
        seen[type.name] = true
        names[#names + 1] = type.name
        walk(type.object.fields)
      end
    end
  end
  for _, endpoint in ipairs(api.endpoints) do walk(endpoint.fields) end
  return names
end

return model
