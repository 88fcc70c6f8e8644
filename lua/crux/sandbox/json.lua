--- JSON for the sandbox: lua-cjson's decoder, and an encoder that knows an empty list from an empty
-- object. Debian's lua-cjson writes `{}` for both. Works on an instance of its own, so that
-- nobody's settings matter.
-- @module crux.sandbox.json

local cjson = require("cjson").new()
cjson.decode_max_depth(32)

local json = { null = cjson.null }

local LIST = {}

--- Mark a table as a list, however empty.
function json.list(items) return setmetatable(items or {}, LIST) end

--- Is this decoded value a list? An empty table is taken for one, since cjson cannot tell.
function json.is_list(value)
  return type(value) == "table" and (value[1] ~= nil or next(value) == nil)
end

--- Decode; nil and a message if it is not JSON.
function json.decode(text)
  local ok, value = pcall(cjson.decode, text)
  if ok then return value end
  return nil, value
end

local function encode(value, out)
  local kind = type(value)
  if kind == "table" then
    if getmetatable(value) == LIST or value[1] ~= nil then
      out[#out + 1] = "["
      for i, item in ipairs(value) do
        if i > 1 then out[#out + 1] = "," end
        encode(item, out)
      end
      out[#out + 1] = "]"
    else
      local names = {}
      for name in pairs(value) do names[#names + 1] = name end
      table.sort(names)
      out[#out + 1] = "{"
      for i, name in ipairs(names) do
        if i > 1 then out[#out + 1] = "," end
        out[#out + 1] = cjson.encode(name)
        out[#out + 1] = ":"
        encode(value[name], out)
      end
      out[#out + 1] = "}"
    end
  elseif kind == "string" then
    out[#out + 1] = cjson.encode(value)
  elseif value == json.null or value == nil then
    out[#out + 1] = "null"
  else
    out[#out + 1] = tostring(value)
  end
end

--- Encode strings, booleans, integers, `json.null`, lists and objects (their names sorted).
function json.encode(value)
  local out = {}
  encode(value, out)
  return table.concat(out)
end

return json
