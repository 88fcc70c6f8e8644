--- JSON for the command's output: objects whose fields are in a given order.
-- @module crux.cli.json
local core = require "crux.core"

local cjson = require("cjson").new()

local json = {}

-- lua-cjson escapes a slash, as JSON allows but nobody reads gladly.
local function scalar(value)
  return (cjson.encode(value):gsub("\\(.)", { ["/"] = "/" }))
end

local encode

local function encode_list(list)
  local parts = {}
  for i = 1, #list do parts[i] = encode(list[i]) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode_map(map)
  local names, parts = {}, {}
  for name in pairs(map) do names[#names + 1] = tostring(name) end
  table.sort(names)
  for i, name in ipairs(names) do
    local value = map[name]
    if value == nil then value = map[tonumber(name)] end
    parts[i] = scalar(name) .. ":" .. encode(value)
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Which of the two an empty table was is not known. In an order it is a list.
function encode(value)
  if value == nil or value == core.null then return "null" end
  if type(value) ~= "table" then return scalar(value) end
  if value[1] ~= nil or next(value) == nil then return encode_list(value) end
  return encode_map(value)
end

--- A value as JSON; the names of an object are sorted.
json.encode = encode

--- An object as one line, with its fields in the given order; nil is left out.
-- @tparam string kind what the line is: its first field, `type`
-- @tparam table fields a list of `{ name, value }`
function json.line(kind, fields)
  local parts = { '{"type":' .. scalar(kind) }
  for _, field in ipairs(fields) do
    if field[2] ~= nil then
      parts[#parts + 1] = scalar(field[1]) .. ":" .. encode(field[2])
    end
  end
  return table.concat(parts, ",") .. "}"
end

--- Decodes a text, as in `pcall`: whether it is JSON, and the value.
function json.decode(text) return pcall(cjson.decode, text) end

return json
