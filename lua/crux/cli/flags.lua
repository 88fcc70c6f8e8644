--- Flags of the command that follow from the options and fields in `crux.api`.
-- @module crux.cli.flags
local api = require "crux.api"

local flags = {}

-- The client's options that are flags of every command that reaches the service.
local OPTIONS = {
  api = true, timeout = true, connect_timeout = true, retries = true, ca_file = true,
  ca_path = true, cert_file = true, key_file = true, no_proxy = true,
}

-- What stands for a value in the help.
local NAMES = {
  seconds = "SECONDS", duration = "SECONDS", rate = "N", whole = "N", limit = "N", uuid = "UUID",
  date = "DATE", file = "FILE", key = "FILE", directory = "DIR", string = "HOSTS", text = "TEXT",
}

local NUMBERS = { seconds = true, duration = true, rate = true, whole = true, limit = true }

--- The flag of a field or option: `ca_file` is `--ca-file`.
function flags.name(field) return "--" .. field:gsub("_", "-") end

-- Documentation of the library's, for a terminal.
local function plain(text) return (text:gsub("`", ""):gsub('"', "")) end

local function number(text)
  local value = tonumber(text)
  if value then return value end
  return nil, ("expected a number, found '%s'"):format(text)
end

local function boolean(text)
  if text == "true" or text == "false" then return text == "true" end
  return nil, ("expected true or false, found '%s'"):format(text)
end

local function default_of(row)
  if row.default then return (" (default %s)"):format(plain(tostring(row.default))) end
  if row.environment then return (" (default $%s)"):format(row.environment[1]) end
  return ""
end

-- `row`: a field or option; `kind`: the type of one value.
local function add(command, row, kind)
  local option = command:option(flags.name(row[1]), plain(row.doc) .. default_of(row))
  if kind == "choice" then
    option:choices(row.choices):argname("<" .. row[1] .. ">")
  elseif kind == "boolean" then
    option:argname "true|false":convert(boolean)
  else
    option:argname("<" .. (NAMES[kind] or kind):lower() .. ">")
    if NUMBERS[kind] then option:convert(number) end
  end
  return option
end

local function is_object(kind) return api.objects[kind] ~= nil end

-- `--sort KEY[:DIR]`: an object whose fields are all choices.
local function add_object(command, row)
  local fields = api.objects[row[2]].fields
  local names = {}
  for i, field in ipairs(fields) do names[i] = field[1] end
  local shape = table.concat(names, "[:") .. ("]"):rep(#names - 1)
  local words = {}
  for i, field in ipairs(fields) do words[i] = table.concat(field.choices, "|") end
  command:option(flags.name(row[1]), plain(row.doc) .. ": " .. table.concat(words, ", then "))
    :argname("<" .. shape .. ">")
    :convert(function(text)
      local value, i = {}, 0
      for part in (text .. ":"):gmatch("([^:]*):") do
        i = i + 1
        if not fields[i] then return nil, ("expected %s, found '%s'"):format(shape, text) end
        value[fields[i][1]] = part
      end
      return value
    end)
end

--- Adds the flags for the fields of an endpoint.
-- @param command of lua-argparse
-- @tparam string name the endpoint's
-- @tparam table without the set of fields that have no flag
function flags.fields(command, name, without)
  for _, endpoint in ipairs(api.endpoints) do
    if endpoint.name == name then
      for _, row in ipairs(endpoint.fields) do
        local kind = row[2]:match("^list of (.*)$")
        if not without[row[1]] then
          if kind then add(command, row, kind):count "*"
          elseif is_object(row[2]) then add_object(command, row)
          else add(command, row, row[2]) end
        end
      end
    end
  end
end

--- The values of an endpoint's fields that were given as flags.
function flags.values(arguments, name, without)
  local values = {}
  for _, endpoint in ipairs(api.endpoints) do
    if endpoint.name == name then
      for _, row in ipairs(endpoint.fields) do
        local value = arguments[row[1]]
        if type(value) == "table" and next(value) == nil then value = nil end
        if not without[row[1]] then values[row[1]] = value end
      end
    end
  end
  return values
end

--- Adds the flags of a command that reaches the service: the client's options, and whom it reaches.
-- @param command of lua-argparse
-- @tparam[opt] table settings `api`: the default generation; `host`: false for a command that takes
--   host and generation from a journal
function flags.service(command, settings)
  settings = settings or {}
  if settings.host ~= false then
    command:mutex(
      command:flag("--production", "use the production service; without it, the service's "
        .. "sandbox is used, or $CRUX_BASE_URL"),
      command:option("--base-url", "use the service at this URL"):argname "<url>")
  end
  local generations = {}
  for i, generation in ipairs(api.generations) do generations[i] = generation.name end
  for _, row in ipairs(api.client_options) do
    local name = row[1]
    if OPTIONS[name] and (name ~= "api" or settings.host ~= false) then
      if name == "api" then
        add(command, {
          "api", "choice", choices = generations, doc = row.doc,
          default = settings.api or row.default,
        }, "choice")
      else
        add(command, row, row[2])
      end
    end
  end
  flags.output(command)
end

--- Adds the flags for what is printed.
function flags.output(command)
  command:flag("--json", "print JSON Lines: an object in each line, its type first, a summary last")
  command:flag("-q --quiet", "print no progress, no remarks and no accepted orders")
end

--- The client's options that were given as flags.
function flags.options(arguments)
  local options = {}
  for name in pairs(OPTIONS) do options[name] = arguments[name] end
  return options
end

--- A whole number above zero, for `convert` of lua-argparse.
function flags.count(text)
  local value = tonumber(text)
  if value and value >= 1 and value == math.floor(value) and value < 2 ^ 31 then return value end
  return nil, ("expected a whole number from 1, found '%s'"):format(text)
end

--- A number above zero, for `convert` of lua-argparse.
function flags.positive(text)
  local value = tonumber(text)
  if value and value > 0 and value < math.huge then return value end
  return nil, ("expected a number above 0, found '%s'"):format(text)
end

return flags
