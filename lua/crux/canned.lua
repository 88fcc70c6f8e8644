--- The answers of `crux.mock`: checks them, and makes of each what `core.perform_canned` takes.
-- @module crux.canned
local cjson = require "cjson"
local core = require "crux.core"

local ipairs, next, pcall, rawget = ipairs, next, pcall, rawget
local tostring, type = tostring, type
local concat, floor, sort = table.concat, math.floor, table.sort
local find, format, lower = string.find, string.format, string.lower

local canned = {}

local FIELDS = { "status", "headers", "body" }

-- What the server sends before it closes the connection, after faults that its bytes show.
local RECEIVED = {
  network_sent = "",
  protocol_sent = "this is not HTTP\r\n\r\n",
  cut_body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 64\r\n\r\n"
    .. '{"uuid',
}

-- All of them. Those that are not above, C knows: see csrc/binding/canned.c.
local FAULTS = {
  "dns", "connect", "proxy", "tls", "timeout", "network", "memory", "timeout_sent", "network_sent",
  "protocol_sent", "cut_body",
}

-- --- what is wrong ---

local function invalid(path, expected, found)
  local err = core.failure("invalid", format("%s: expected %s, found %s", path, expected, found))
  err.field = path
  return nil, err
end

local function found_in(value)
  if type(value) == "number" then return format("%.14g", value) end
  if value == nil then return "nothing" end
  return value == core.null and "crux.null" or "a " .. type(value)
end

-- The names of a table that are strings come first, in order: so the same one is found each time.
local function first_unknown(value, known)
  local unknown, other = {}, nil
  for name in next, value do
    if not known[name] then
      if type(name) == "string" then unknown[#unknown + 1] = name else other = name end
    end
  end
  sort(unknown)
  return unknown[1] or other
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

local IS_FIELD, IS_FAULT = set_of(FIELDS), set_of(FAULTS)

-- --- from an answer to bytes ---

local function field_line(name, value, path)
  if type(name) ~= "string" or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    return invalid(path, "the names of headers", type(name) == "string" and "another string"
      or found_in(name))
  end
  if type(value) == "number" then value = format("%.14g", value) end
  if type(value) ~= "string" or find(value, "[\r\n]") or find(value, "\0", 1, true) then
    return invalid(format("%s.%s", path, name), "a string without CR, LF and NUL",
      type(value) == "string" and "one with" or found_in(value))
  end
  return format("%s: %s\r\n", name, value)
end

-- The field lines, and the set of their names in lower case; or nil and an error.
local function field_lines(headers, path)
  local lines, names = {}, {}
  for name, value in next, headers do
    local line, err = field_line(name, value, path)
    if not line then return nil, err end
    lines[#lines + 1], names[lower(name)] = line, true
  end
  sort(lines)
  return lines, names
end

local function text_of(body, path)
  if body == nil then return "" end
  if type(body) == "string" then return body end
  if type(body) ~= "table" then return invalid(path, "a string or a table", found_in(body)) end
  -- an instance of its own: programs change the options of the shared one
  local ok, text = pcall(cjson.new().encode, body)
  if not ok then return invalid(path, "a table that can be written as JSON", tostring(text)) end
  return text
end

-- The bytes of a response, or nil and an error.
local function response(answer, path)
  local status, headers = rawget(answer, "status"), rawget(answer, "headers")
  if type(status) ~= "number" or status ~= floor(status) or status < 100 or status > 999 then
    return invalid(path .. ".status", "a whole number from 100 to 999", found_in(status))
  end
  if headers ~= nil and type(headers) ~= "table" then
    return invalid(path .. ".headers", "a table of names and values", found_in(headers))
  end
  local lines, names = field_lines(headers or {}, path .. ".headers")
  if not lines then return nil, names end
  local body, err = text_of(rawget(answer, "body"), path .. ".body")
  if not body then return nil, err end
  if type(rawget(answer, "body")) == "table" and not names["content-type"] then
    lines[#lines + 1] = "Content-Type: application/json\r\n"
  end
  -- RFC 9110 8.6: there is none in a response with these statuses
  local has_length = status < 200 or status == 204 or status == 304 or names["content-length"]
    or names["transfer-encoding"]
  if not has_length then lines[#lines + 1] = format("Content-Length: %d\r\n", #body) end
  return format("HTTP/1.1 %d Mock\r\n", status) .. concat(lines) .. "\r\n" .. body
end

--- Checks an answer.
-- @tparam table|string answer `{ status =, headers =, body = }`, or a fault's name
-- @tparam string path its place, for messages
-- @treturn[1] table `{ received =, fault = }`, of which one is set: the arguments of
--   `core.perform_canned`
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function canned.answer(answer, path)
  if type(answer) == "string" then
    if RECEIVED[answer] then return { received = RECEIVED[answer] } end
    if IS_FAULT[answer] then return { fault = answer } end
    local is_showable = find(answer, "^[%w_]+$") and #answer <= 16
    return invalid(path, "one of the faults " .. concat(FAULTS, ", "),
      is_showable and format("'%s'", answer) or "another string")
  end
  if type(answer) ~= "table" then
    return invalid(path, "a table of status, headers and body, or the name of a fault",
      found_in(answer))
  end
  local unknown = first_unknown(answer, IS_FIELD)
  if unknown ~= nil then return nil, core.unknown_field(path, unknown, FIELDS) end
  local received, err = response(answer, path)
  if not received then return nil, err end
  return { received = received }
end

-- Those of one endpoint, checked: a function as it is, or a list.
local function for_endpoint(answers, path)
  if type(answers) == "function" then return answers end
  if type(answers) ~= "table" then
    return invalid(path, "a list of answers, or a function", found_in(answers))
  end
  local list, count = {}, 0
  for _ in next, answers do count = count + 1 end
  for index = 1, count do
    local answer = rawget(answers, index)
    if answer == nil then
      local hint = rawget(answers, "status") and "one answer: write { { status = … } }"
        or "a table with other keys than 1, 2, 3"
      return invalid(path, "a list of answers, or a function", hint)
    end
    local made, err = canned.answer(answer, format("%s[%d]", path, index))
    if not made then return nil, err end
    list[index] = made
  end
  return list
end

--- Checks the option `answers`.
-- @tparam ?table answers by endpoint, a list or a function
-- @treturn[1] table by endpoint, a list of what `answer` returns, or the function
-- @treturn[2] nil
-- @treturn[2] table err of kind `invalid`
function canned.answers(answers)
  if answers == nil then return {} end
  if type(answers) ~= "table" then
    return invalid("answers", "a table of lists and functions by endpoint", found_in(answers))
  end
  local made = {}
  local unknown = first_unknown(answers, set_of(core.endpoints))
  if unknown ~= nil then return nil, core.unknown_field("answers", unknown, core.endpoints) end
  for _, name in ipairs(core.endpoints) do
    if rawget(answers, name) ~= nil then
      local err
      made[name], err = for_endpoint(rawget(answers, name), "answers." .. name)
      if not made[name] then return nil, err end
    end
  end
  return made
end

return canned
