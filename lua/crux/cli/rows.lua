--- Rows of an input: CSV, JSON Lines or bare UUIDs become the arguments of `cancel_order`.
-- @module crux.cli.rows
local api = require "crux.api"
local core = require "crux.core"
local csv = require "crux.cli.csv"
local json = require "crux.cli.json"

local rows = {}

-- By its name, whether a column is one of a SKU (true) or of the order (false).
local COLUMNS = { order_uuid = false }
for _, field in ipairs(api.objects.sku.fields) do COLUMNS[field[1]] = true end

local function known_columns()
  local names = { "order_uuid" }
  for _, field in ipairs(api.objects.sku.fields) do names[#names + 1] = field[1] end
  return table.concat(names, ", ")
end

local function shown(text)
  text = text:gsub("[%c\127-\255]", "?")
  return #text > 40 and text:sub(1, 40) .. "..." or text
end

-- --- CSV ---

-- The columns that the header names; nil and a message if it does not do.
local function columns_of(header, ignore)
  local columns, seen = {}, {}
  for i, name in ipairs(header) do
    if COLUMNS[name] == nil then
      if not ignore then
        return nil, ("unknown column '%s': expected %s; --ignore-columns leaves others out"):format(
          shown(name), known_columns())
      end
    elseif seen[name] then
      return nil, ("expected the column %s once, found it twice"):format(name)
    else
      columns[i], seen[name] = name, true
    end
  end
  if not seen.order_uuid then
    return nil, "expected a first line that names the columns, among them order_uuid"
  end
  return columns
end

local function row_of(fields, columns, count)
  if #fields ~= count then
    return nil, ("expected %d fields, as in the first line, found %d"):format(count, #fields)
  end
  local arguments, sku = {}, nil
  for i, name in pairs(columns) do
    local value = fields[i]
    if value ~= "" then
      if COLUMNS[name] then
        sku = sku or {}
        sku[name] = value
      else
        arguments[name] = value
      end
    end
  end
  arguments.skus = sku and { sku }
  return arguments
end

--- A problem's field is told by the name of its column.
local function csv_words(message) return (message:gsub("^skus%[1%]%.", "")) end

local function from_csv(lines, ignore)
  local records = csv(lines)
  local header, first, why = records()
  if header == false then return nil, 1, why or "expected orders, found an empty file" end
  local columns
  if header then columns, why = columns_of(header, ignore) end
  if not columns then return nil, first, why end
  return function()
    local fields, number, failure = records()
    if fields == false then return false, nil, failure end
    if not fields then return nil, number, failure end
    local arguments, message = row_of(fields, columns, #header)
    return arguments, number, message
  end, csv_words
end

-- --- JSON Lines and bare UUIDs ---

-- JSON null counts as an absent field, where the library takes it so; a call's options are no
-- fields: a line cannot set the token or the service.
local function from_object(text)
  local ok, object = json.decode(text)
  if not ok then return nil, "expected JSON, found something else" end
  if type(object) ~= "table" or object[1] ~= nil then
    return nil, "expected a JSON object, found another"
  end
  for name in pairs(object) do
    if name ~= "order_uuid" and name ~= "skus" then
      return nil, ("unknown field '%s': expected order_uuid and skus alone"):format(
        shown(tostring(name)))
    end
  end
  for _, sku in ipairs(type(object.skus) == "table" and object.skus or {}) do
    for name, value in pairs(type(sku) == "table" and sku or {}) do
      if value == core.null then sku[name] = nil end
    end
  end
  return object
end

local function from_uuid(text) return { order_uuid = text } end

local function identity(message) return message end

-- One order in each line; empty lines are left out.
local function from_lines(first, number, lines, parse)
  return function()
    local line = first
    first = nil
    if not line then
      repeat
        line, number = lines()
        if not line then return false, nil, number end
        line = line:gsub("^%s+", ""):gsub("%s+$", "")
      until line ~= ""
    end
    local arguments, why = parse(line)
    return arguments, number, why
  end, identity
end

local function is_uuid(text)
  return text:find("^%x+%-%x+%-%x+%-%x+%-%x+$") ~= nil and #text == 36
end

--- Iterates over the rows of an input. The first line tells the format: a JSON object, a bare UUID,
-- else the names of columns.
-- @tparam function lines as from `crux.cli.input_lines`
-- @tparam boolean ignore whether unknown columns are left out
-- @treturn[1] function at each call: a row's arguments (nil if it is bad), its line, and what is
--   wrong; false at the end; false, nil and a message after a failure to read
-- @treturn[1] function puts a message about the arguments into the words of the format
-- @treturn[2] nil
-- @treturn[2] number line
-- @treturn[2] string what is wrong with it
function rows.read(lines, ignore)
  local line, number = lines()
  while line and not line:find("%S") do line, number = lines() end
  if not line and number then return nil, 0, number end
  if not line then return nil, 1, "expected orders, found an empty file" end
  local text = line:gsub("^%s+", ""):gsub("%s+$", "")
  if text:sub(1, 1) == "{" then return from_lines(text, number, lines, from_object) end
  if is_uuid(text) then return from_lines(text, number, lines, from_uuid) end
  local pushed = true
  return from_csv(function()
    if pushed then
      pushed = false
      return line, number
    end
    return lines()
  end, ignore)
end

return rows
