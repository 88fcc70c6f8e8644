-- Writes csrc/api.c: the rows that csrc/api.h declares.
local model = require "generate.model"

local api = model.api

local COLUMNS = 100

-- A string literal that begins at a column, cut at blanks into as many as the lines need.
local function literal(text, column)
  local parts, width = { "" }, COLUMNS - column - 5
  for word in text:gmatch("[^ ]* ?") do
    if #parts[#parts] + #word > width then parts[#parts + 1] = "" end
    parts[#parts] = parts[#parts] .. word
  end
  for i, part in ipairs(parts) do parts[i] = '"' .. part:gsub('[\\"]', "\\%0") .. '"' end
  return table.concat(parts, "\n" .. (" "):rep(column))
end

local function number(value) return value and ("%.14g"):format(value) or "0" end

local function flags(field, endpoint)
  local names = {}
  if field.required then names[#names + 1] = "CRUX_REQUIRED" end
  if field.secret then names[#names + 1] = "CRUX_SECRET" end
  if endpoint and model.in_path(endpoint, field) then names[#names + 1] = "CRUX_IN_PATH" end
  if field.lua_only then names[#names + 1] = "CRUX_LUA_ONLY" end
  return #names > 0 and table.concat(names, " | ") or "0"
end

-- Collects the source in `out`: what a row points to comes before the row.
local Writer = {}
Writer.__index = Writer

function Writer:add(text) self.out[#self.out + 1] = text .. "\n" end

-- Adds a field's choices. Returns the name of the array.
function Writer:choices(owner, field)
  local name = ("%s_%s_choices"):format(owner, field[1])
  local quoted = {}
  for i, choice in ipairs(field.choices) do quoted[i] = literal(choice, 0) end
  quoted[#quoted + 1] = "NULL"
  local source = ("static const char *const %s[] = { %s };"):format(name, table.concat(quoted, ", "))
  if #source > COLUMNS then
    source = ("static const char *const %s[] = {\n  %s,\n};"):format(name, table.concat(quoted, ",\n  "))
  end
  self:add(source .. "\n")
  return name
end

-- Adds what the row of a field points to. Returns the row.
function Writer:row(owner, field, endpoint)
  local type = model.type_of(field)
  local low, high = model.range(field)
  local kind, choices, fields = "LIST", "NULL", "NULL"
  if type.list then
    local item = { type.name, type.name, choices = field.choices }
    local row = self:row(("%s_%s"):format(owner, field[1]), item)
    fields = ("%s_%s_item"):format(owner, field[1])
    self:add(("static const crux_field %s[] = {\n%s  { .name = NULL },\n};\n"):format(fields, row))
  elseif type.object then
    kind, fields = "OBJECT", self:object(type.name)
  elseif type.name == "choice" then
    kind, choices = "ENUM", self:choices(owner, field)
  else
    kind = type.type.c
  end
  if kind == "DECIMAL" then low, high = nil, nil end -- its range is its type's, see csrc/api.h
  local first = ('  { "%s", CRUX_TYPE_%s, %s, %s, %s,'):format(field[1], kind,
    flags(field, endpoint), number(low), number(high))
  local last = ("%s, %s },\n"):format(choices, fields)
  return first .. (#first + #last > COLUMNS and "\n    " or " ") .. last
end

-- Adds what the rows of these fields point to. Returns the rows.
function Writer:rows(owner, fields, endpoint)
  local rows = {}
  for i, field in ipairs(fields) do rows[i] = self:row(owner, field, endpoint) end
  return table.concat(rows) .. "  { .name = NULL },\n"
end

-- Adds the fields of an object, once. Returns the name of the array.
function Writer:object(name)
  local array = name .. "_fields"
  if not self.written[name] then
    self.written[name] = true
    local rows = self:rows(name, api.objects[name].fields)
    self:add(("static const crux_field %s[] = {\n%s};\n"):format(array, rows))
  end
  return array
end

function Writer:hints(array, hints)
  local rows = {}
  for i, row in ipairs(hints) do rows[i] = ("  { %d, %s },\n"):format(row[1], literal(row[2], 9)) end
  self:add(("%s[] = {\n%s  { .status = 0 },\n};\n"):format(array, table.concat(rows)))
end

local function shared_hints()
  local hints = {}
  for _, row in ipairs(api.statuses) do
    if row.hint then hints[#hints + 1] = { row[1], row.hint } end
  end
  return hints
end

local function generation_bits(endpoint)
  local bits = {}
  for i, name in ipairs(model.generations(endpoint)) do bits[i] = "CRUX_" .. name:upper() end
  return table.concat(bits, " | ")
end

local function endpoint_row(endpoint)
  local method, path = model.route(endpoint)
  local look = model.look(endpoint)
  return ('  { "%s", "%s", "%s",\n    %s_fields, %s, %s, %s, %s,\n    %s, %s },\n'):format(
    endpoint.name, method, path, endpoint.name, generation_bits(endpoint),
    tostring(model.has_body(endpoint)), tostring(endpoint.safe == true),
    tostring(endpoint.authenticated ~= false), look and '"' .. look .. '"' or "NULL",
    #model.hints(endpoint) > 0 and endpoint.name .. "_hints" or "NULL")
end

local function write_endpoints(writer)
  local rows = {}
  writer:add("/* --- fields --- */\n")
  for _, endpoint in ipairs(api.endpoints) do
    local fields = writer:rows(endpoint.name, endpoint.fields, endpoint)
    writer:add(("static const crux_field %s_fields[] = {\n%s};\n"):format(endpoint.name, fields))
  end
  writer:add("/* --- statuses --- */\n")
  for i, endpoint in ipairs(api.endpoints) do
    local hints = model.hints(endpoint)
    if #hints > 0 then
      writer:hints(("static const crux_hint %s_hints"):format(endpoint.name), hints)
    end
    rows[i] = endpoint_row(endpoint)
  end
  writer:hints("const crux_hint crux_hints", shared_hints())
  writer:hints("const crux_status crux_statuses", api.statuses)
  writer:add("/* --- endpoints --- */\n\nconst crux_generation crux_generations[] = {")
  for _, generation in ipairs(api.generations) do
    writer:add(('  { "%s", CRUX_%s, "%s" },'):format(generation.name, generation.name:upper(),
      generation.prefix))
  end
  writer:add("  { .name = NULL },\n};\n")
  writer:add(("const crux_endpoint crux_endpoints[] = {\n%s  { .name = NULL },\n};\n"):format(
    table.concat(rows)))
end

--- The source of csrc/api.c.
return function()
  local writer = setmetatable({ out = {}, written = {} }, Writer)
  writer:add("/* api: the rows of csrc/api.h. Generated by docs/generate.lua from lua/crux/api.lua: do\n"
    .. "   not edit. */\n#include \"api.h\"\n")
  write_endpoints(writer)
  writer:add("/* --- options --- */\n")
  for _, name in ipairs{ "client", "batch" } do
    local rows = writer:rows(name, api[name .. "_options"])
    writer:add(("const crux_field crux_%s_options[] = {\n%s};\n"):format(name, rows))
  end
  return (table.concat(writer.out):gsub("\n+$", "\n"))
end
