--- What the calls take, and values that are right and wrong for it: shared by the specs of
-- arguments in spec/call.
--
--     local client, server
--     setup(function() client, server = arguments.open() end)
--     teardown(arguments.close)
--     arguments.refused({ order_uuid = 5 }, "order_uuid", arguments.wrong("uuid", 5))
-- @module spec.support.arguments
local assert = require "luassert"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local arguments = {}

local U, S = helper.ORDER, helper.SUPPLIER
local HUGE = math.huge

--- The fields of a SKU, as interface.md has them: name, type, and whether it is required.
local SKU = {
  { "supplier_uuid", "uuid", required = true }, { "sku_id", "text" }, { "quantity", "whole" }, { "price", "decimal" },
  { "expected_sku_cost", "decimal" },
}
local EXPECTED = {
  uuid = "a UUID (8-4-4-4-12 hex digits)",
  text = "a non-empty string of UTF-8",
  whole = "a whole number from 1 to 2147483647",
  decimal = "a number or string from 0 to 99999999.99 with at most two decimals",
  list = "a list of at least one table",
}

local server, client

--- Opens a server that answers with 204, and a client of it, which the ways to call below use.
-- @treturn table the client
-- @treturn table the server
function arguments.open()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url, timeout = 10 })
  return client, server
end

--- Closes both, and stops the fault server.
function arguments.close()
  client:close()
  server:close()
  fault.stop()
end

local function with(given, more)
  local copy = {}
  for key, value in next, given do copy[key] = value end
  for key, value in next, more do if copy[key] == nil then copy[key] = value end end
  return setmetatable(copy, getmetatable(given))
end

--- Every way to make a call, as functions of its name and arguments.
local WAYS = {
  { "crux.core", function(name, given)
    return core[name](with(given, { token = helper.TOKEN, base_url = server.base_url }))
  end, core = true },
  { "crux", function(name, given)
    return crux[name](with(given, { token = helper.TOKEN, base_url = server.base_url }))
  end },
  { "a client", function(name, given) return client[name](client, given) end },
  { "dry_run", function(name, given) return client:dry_run(name, given) end, dry = true },
  { "submit", function(name, given) return client:submit(name, given) end },
}

-- All names, for a field that is unknown and near to none of them.
local KNOWN = {
  sku = "supplier_uuid, sku_id, quantity, price, expected_sku_cost",
  cancel_order = "order_uuid, skus",
  get_order = "order_uuid",
  options = "token, username, password, token_cache, base_url, api, timeout, connect_timeout, retries, "
    .. "max_connections, idle_timeout, connection_lifetime, "
    .. "ca_file, ca_path, cert_file, key_file, proxy, no_proxy, user_agent, headers, max_body, on_event",
}

local function unknown(field, name, way)
  if field:find("^skus%[%d+%]") then return "unknown field, expected one of " .. KNOWN.sku end
  local options = KNOWN.options
  if way.core then
    options = options:gsub(" username, password, token_cache,", ""):gsub(" retries,", ""):gsub(", on_event", "")
  end
  return ("unknown field, expected one of %s, %s"):format(KNOWN[name], options)
end

--- Asserts that every way to call refuses the arguments: `invalid`, `not_sent`, this field, and
-- this message after it.
-- @tparam table given
-- @tparam string field
-- @tparam string text `"unknown field"` stands for that with the list of names
-- @tparam[opt="cancel_order"] string name of the call
local function refused(given, field, text, name)
  for _, way in ipairs(WAYS) do
    local result, err = way[2](name or "cancel_order", given)
    local message = text ~= "unknown field" and text or unknown(field, name or "cancel_order", way)
    helper.check(result, err)
    -- there are thousands of these, and luassert takes its time
    local told = err and err.outcome == "not_sent" and err.kind == "invalid" and err.field == field
      and err.message == field .. ": " .. message and not err.retryable and err.meta.attempts == 0
    if not told then
      assert.same({ "not_sent", "invalid", field, field .. ": " .. message },
        { err and err.outcome, err and err.kind, err and err.field, err and err.message }, way[1])
      assert.is_true(told)
    end
  end
end

--- The JSON that the arguments of `cancel_order` become.
local function body_of(given)
  local seen
  for _, way in ipairs(WAYS) do
    if way.dry then
      local request, err = way[2]("cancel_order", given)
      assert.is_nil(err and tostring(err))
      helper.clean(request)
      seen = request.body
    end
  end
  return seen
end

--- How a message names a value. `quiet`: no value is shown.
local function found(value, quiet)
  local kind = type(value)
  if kind == "nil" then return "nothing" end
  if value == crux.null then return "crux.null" end
  if quiet and kind ~= "string" then return "a " .. kind end
  if kind == "boolean" then return tostring(value) end
  if kind == "number" then
    local brief = ("%.14g"):format(value)
    return tonumber(brief) == value and brief or ("%.17g"):format(value)
  end
  if kind ~= "string" then return "a " .. kind end
  if not quiet and #value <= 16 and not value:find("[^ -~]") then return "'" .. value .. "'" end
  return ("a string of %d bytes"):format(#value)
end

local NOTHING = {}

--- The message for a value that is not of its field's type.
local function wrong(type_name, value)
  return ("expected %s, found %s"):format(EXPECTED[type_name], found(value, type_name == "uuid"))
end

--- Values that a type refuses.
local BAD = {
  uuid = {
    "", U:sub(1, 35), U .. "0", U .. "\n", U:gsub("%-", ""), "{" .. U .. "}", "urn:uuid:" .. U, U:gsub("5", "g", 1),
    U:gsub("%-", "_", 1), "54a31ec-5b0be-4a92-af4c-1b75fe8e6e29", U:sub(1, 35) .. "\0", " " .. U:sub(2),
    U:sub(1, 34) .. "\195\169", "secret", 1, true, false, print, NOTHING, crux.null,
  },
  text = {
    "", 106, 1.5, true, false, print, NOTHING,
    "\128", "a\255", "\192\128", "\193\191", "\224\159\191", "\237\160\128", "\240\143\191\191", "\244\144\128\128",
    "\245\128\128\128", "\226\130", "\226\130a", ("long"):rep(20) .. "\255",
  },
  whole = {
    0, -1, 1.5, 0.999, 2147483648, 2147483647.5, 1e300, HUGE, -HUGE, true, false, print, NOTHING,
    "", "0", "-1", "+1", " 1", "1 ", "1.0", "1e1", "0x10", "1,000", "2147483648", "1\0",
    ("0"):rep(70) .. "1",
  },
  decimal = {
    -1, -0.01, -HUGE, HUGE, 0.1 + 0.2, 1.1 * 3, 1.005 * 1000, 0.001, 1e-10, 19.999, 99999999.991, 99999999.995,
    100000000, 1e300, true, false, print, NOTHING,
    "", " ", " 1", "1 ", "1e2", ".5", "1.", ".", "-1", "-0", "+1", "1,5", "1.234", "1.2.3", "0x10", "100000000",
    "100000000.00", "inf", "nan", "1\n", "1\0", ("1"):rep(65), ("0"):rep(80), "12 345.00", "\194\1781",
  },
  list = { "", "skus", 1, true, false, print, crux.null },
}

--- Values that a type accepts; where JSON has another value, that is beside it.
local GOOD = {
  uuid = {
    U, U:upper(), "54A31ec5-B0BE-4a92-aF4c-1b75fe8e6E29", "00000000-0000-0000-0000-000000000000",
    "FFFFFFFF-ffff-FFFF-ffff-FFFFFFFFFFFF",
  },
  text = {
    "000106", "7", " ", "a/b\\c\"d", "\195\169\226\130\172\240\159\152\128", "\237\159\191\238\128\128",
    "\244\143\191\191", "a\0b", "\127", ("x"):rep(5000),
  },
  whole = {
    { 1, "1" }, { 2, "2" }, { 7.0, "7" }, { 100000, "100000" }, { 1e9, "1000000000" }, { 2147483647, "2147483647" },
    { 2147483646.0, "2147483646" }, { "2", "2" }, { "007", "7" }, { "2147483647", "2147483647" },
  },
  decimal = {
    { 0, "0.00" }, { -0.0, "0.00" }, { 7, "7.00" }, { 7.5, "7.50" }, { 0.01, "0.01" }, { 0.1, "0.10" },
    { 0.29, "0.29" }, { 1.1, "1.10" }, { 4.35, "4.35" }, { 19.99, "19.99" }, { 99999999.99, "99999999.99" },
    { 99999999, "99999999.00" }, { 1e7, "10000000.00" },
    { "7", "7.00" }, { "7.5", "7.50" }, { "7.05", "7.05" }, { "0", "0.00" }, { "0.0", "0.00" },
    { "99999999.99", "99999999.99" }, { "007.5", "7.50" }, { "0000000000000007", "7.00" },
  },
}

--- Arguments of `cancel_order` with one SKU, one field of which is given.
local function sku(name, value)
  local made = { supplier_uuid = S }
  if name then made[name] = value end
  return { order_uuid = U, skus = { made } }
end

arguments.SKU = SKU
arguments.EXPECTED = EXPECTED
arguments.WAYS = WAYS
arguments.BAD = BAD
arguments.GOOD = GOOD
arguments.refused = refused
arguments.body_of = body_of
arguments.found = found
arguments.wrong = wrong
arguments.sku = sku

return arguments
