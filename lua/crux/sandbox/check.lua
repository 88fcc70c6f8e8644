--- Field checks in the words of Django REST Framework: each returns nil, or what goes under the
-- field's name.
-- @module crux.sandbox.check

local json = require "crux.sandbox.json"

local check = {}

local FOUR = ("%x"):rep(4) .. "%-"
local UUID = "^" .. ("%x"):rep(8) .. "%-" .. FOUR .. FOUR .. FOUR .. ("%x"):rep(12) .. "$"

--- Is it 8-4-4-4-12 hex digits?
function check.is_uuid(text) return type(text) == "string" and text:find(UUID) ~= nil end

local function only(message) return json.list{ message } end

local PYTHON_NAMES = {
  string = "str", number = "int", boolean = "bool", table = "dict", userdata = "NoneType",
}

local function python_name(value)
  if json.is_list(value) then return "list" end
  return PYTHON_NAMES[type(value)]
end

function check.string(value, limit)
  if type(value) == "number" then return nil end
  if type(value) ~= "string" then return only "Not a valid string." end
  if value == "" then return only "This field may not be blank." end
  if limit and (utf8.len(value) or #value) > limit then
    return only(("Ensure this field has no more than %d characters."):format(limit))
  end
end

function check.uuid(value)
  if not check.is_uuid(value) then
    local found = type(value) == "table" and python_name(value) or tostring(value)
    return only(('"%s" is not a valid UUID.'):format(found))
  end
end

function check.positive(value)
  local number = type(value) ~= "boolean" and tonumber(value)
  if not number or number % 1 ~= 0 then return only "A valid integer is required." end
  if number < 1 then return only "Ensure this value is greater than or equal to 1." end
  if number > 2147483647 then
    return only "Ensure this value is less than or equal to 2147483647."
  end
end

function check.price(value)
  local text = type(value) == "number" and ("%.14g"):format(value) or value
  if type(text) ~= "string" or not text:find("^%-?%d+%.?%d*$") then
    return only "A valid number is required."
  end
  if text:find("^%-") then return only "Ensure this value is greater than or equal to 0." end
  if #(text:match("%.(%d*)$") or "") > 2 then
    return only "Ensure that there are no more than 2 decimal places."
  end
  if #text:match("^%d+") > 8 then
    return only "Ensure that there are no more than 10 digits in total."
  end
end

--- Check an object against rows of `{ name, check, required }`.
-- @treturn[1] nil if it is good
-- @treturn[2] table errors by field
function check.object(value, rows)
  if type(value) ~= "table" or value[1] ~= nil then
    local message = ("Invalid data. Expected a dictionary, but got %s."):format(python_name(value))
    return { non_field_errors = only(message) }
  end
  local errors
  for _, row in ipairs(rows) do
    local name, test, required = row[1], row[2], row[3]
    local found = value[name]
    local problem
    if found == nil then
      problem = required and only "This field is required." or nil
    elseif found == json.null then
      problem = only "This field may not be null."
    else
      problem = test(found)
    end
    if problem then
      errors = errors or {}
      errors[name] = problem
    end
  end
  return errors
end

--- A check for a list of objects: `{}` stands for a row that is good.
function check.list_of(rows)
  return function(value)
    if not json.is_list(value) then
      local message = ('Expected a list of items but got type "%s".'):format(python_name(value))
      return { non_field_errors = only(message) }
    end
    if #value == 0 then return { non_field_errors = only "This list may not be empty." } end
    local errors, any = json.list(), false
    for i, item in ipairs(value) do
      errors[i] = check.object(item, rows) or {}
      any = any or next(errors[i]) ~= nil
    end
    return any and errors or nil
  end
end

return check
