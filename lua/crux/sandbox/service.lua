--- The exchange itself: what each request is answered. No I/O. Routes, parties and permissions are
-- those of `crux.api`; what is done, and the checks of the fields, are rows of `HANDLERS`, written
-- by hand as a second opinion. The checks run in the order of Django REST Framework: URL, token,
-- kind of organization, permission, verb, content type, fields, and then the order's own state.
-- @module crux.sandbox.service

local api = require "crux.api"
local check = require "crux.sandbox.check"
local json = require "crux.sandbox.json"
local orders = require "crux.sandbox.orders"

local service = {}

local function detail(text) return { detail = text } end

local SKU = {
  { "supplier_uuid", check.uuid, true },
  { "sku_id", check.string },
  { "quantity", check.positive },
  { "price", check.price },
  { "expected_sku_cost", check.price },
}

local ORDERED_SKU = {
  { "sku_id", check.string, true },
  { "supplier_uuid", check.uuid, true },
  { "quantity", check.positive, true },
  { "price", check.price, true },
  { "expected_sku_cost", check.price },
}

local function anything() end

local function notes(value) return value ~= "" and check.string(value, 250) or nil end

local function login(state, call)
  local user = state.accounts.users[call.body.username]
  if not user or user.password ~= call.body.password then
    return 401, detail "Unable to log in with provided credentials."
  end
  state.record.logins = state.record.logins + 1
  return 200, state.accounts:login(user)
end

local WHY_NOT = {
  pending = function() return 422, detail "This order is no longer pending." end,
  sku = function() return 422, detail "This order has no such line item." end,
  quantity = function(index, skus)
    local rows = json.list()
    for i = 1, #skus do rows[i] = {} end
    rows[index] = { non_field_errors = json.list{ "Quantity is more than was ordered." } }
    return 400, { skus = rows }
  end,
}

local function cancel(state, call)
  local order = state.orders:get(call.body.order_uuid)
  if not order then return 422, detail "There is no such order." end
  local ok, why, index = state.orders:cancel(order, call.body.skus)
  if not ok then return WHY_NOT[why](index, call.body.skus) end
  state.record:executed(order.uuid)
  return 204
end

local function cancel_item(state, call)
  local item = state.orders:line(call.uuid)
  if not item then return 404, detail "Not found." end
  if not state.orders:cancel_line(item) then return WHY_NOT.pending() end
  state.record:executed(item.uuid)
  return 204
end

-- Confirms or rejects what a retailer asked for: of an order, or of one line.
local function decision(of_line, confirmed)
  return function(state, call)
    local lines
    if of_line then
      lines = { (state.orders:line(call.uuid)) }
    else
      local order = state.orders:get(call.uuid)
      lines = order and order.lines or {}
    end
    if #lines == 0 then return 404, detail "Not found." end
    if not state.orders:decide(lines, call.user.org.uuid, confirmed) then
      return 422, detail "There is no cancellation that waits for this supplier."
    end
    return 204
  end
end

local function read(state, call)
  local order = state.orders:get(call.uuid)
  if not order then return 422, detail "There is no such order." end
  return 200, orders.show(order, call.api)
end

local function create(state, call)
  return 201, orders.show(state.orders:get(state.orders:add(call.body).uuid), call.api)
end

local function list(state, call)
  local body = call.body
  local start = tonumber(body.start) or 0
  local limit = tonumber(body.limit)
  local last = start + 50
  if limit then last = state.limit == "size" and start + limit or limit + 1 end
  local descending = type(body.sort) == "table" and (body.sort.dir or body.sort.value) == "desc"
  local found, shown = state.orders.sequence, json.list()
  if body.term or body.po_number or body.line_item_designation then
    found = {}
    for _, order in ipairs(state.orders.sequence) do
      if orders.matches(state.orders:get(order.uuid), body) then found[#found + 1] = order end
    end
  end
  for i = start + 1, math.min(last, #found) do
    local order = found[descending and #found + 1 - i or i]
    shown[#shown + 1] = orders.show(state.orders:get(order.uuid), call.api)
  end
  return 200, { total_results = #found, orders = shown }
end

-- What is done for an endpoint, by its name; and the checks of its body, if it has one.
local HANDLERS = {
  cancel_order = {
    call = cancel,
    fields = { { "order_uuid", check.uuid, true }, { "skus", check.list_of(SKU) } },
  },
  cancel_order_item = { call = cancel_item },
  confirm_order_cancellation = { call = decision(false, true) },
  reject_order_cancellation = { call = decision(false, false) },
  confirm_item_cancellation = { call = decision(true, true) },
  reject_item_cancellation = { call = decision(true, false) },
  create_order = {
    call = create,
    fields = {
      { "skus", check.list_of(ORDERED_SKU), true }, { "purchase_order_id", check.string },
      { "notes", notes }, { "shipping_carrier", anything }, { "shipping_method", anything },
      { "address", anything },
    },
  },
  get_order = { call = read },
  list_orders = {
    call = list,
    fields = {
      { "start", check.position }, { "limit", check.position },
      {
        "sort", check.object_of{
          { "key", check.choice("date", "status", "sku_id") },
          { "dir", check.choice("asc", "desc") },
          { "value", check.choice("asc", "desc") },
        },
      },
      {
        "line_item_allocation_statuses",
        check.each(check.choice("Unallocated", "Partial", "Allocated")),
      },
      {
        "line_item_designation",
        check.choice("HasTracking", "NeedsTracking", "Backordered", "Rejected", "Cancelled"),
      },
      { "start_date", check.date }, { "end_date", check.date }, { "term", check.string },
      { "org_uuids", check.each(check.uuid) }, { "po_number", check.string },
      { "sent_to_supplier", check.boolean },
    },
  },
  login = {
    call = login,
    fields = { { "username", check.string, true }, { "password", check.string, true } },
  },
}

-- What the sandbox alone offers, as rows of `crux.api`.
local OTHERS = {
  {
    name = "create_order", route = "POST /orders/create/", party = "retailer",
    permission = "create_order",
  },
}

-- `capture`: whether there is a UUID in the path; `generations`: a set, nil for all.
local function route(row)
  local method, path = row.route:match("^(%u+) (/%S*)$")
  local pattern, captures = path:gsub("[%-.]", "%%%0"):gsub("{[^}]*}", "([%%x-]+)")
  local endpoint = {
    method = method, pattern = "^" .. pattern .. "$", capture = captures > 0,
    open = row.authenticated == false, party = row.party,
    permission = row.permission, handler = HANDLERS[row.name],
  }
  assert(endpoint.handler, "expected a handler of " .. row.name)
  if row.generations then
    endpoint.generations = {}
    for _, name in ipairs(row.generations) do endpoint.generations[name] = true end
  end
  return endpoint
end

local ENDPOINTS, known = {}, {}
for _, rows in ipairs{ api.endpoints, OTHERS } do
  for _, row in ipairs(rows) do
    if not known[row.name] then ENDPOINTS[#ENDPOINTS + 1] = route(row) end
    known[row.name] = true
  end
end

local function find(path, generation)
  for _, endpoint in ipairs(ENDPOINTS) do
    local capture = path:match(endpoint.pattern)
    if capture and (not endpoint.capture or check.is_uuid(capture))
      and (not endpoint.generations or endpoint.generations[generation]) then
      return endpoint, capture
    end
  end
end

-- The path below the prefix of its generation, and the generation's name.
local function split(path)
  for i = #api.generations, 1, -1 do
    local generation = api.generations[i]
    local length = #generation.prefix
    if path:sub(1, length) == generation.prefix and path:sub(length + 1, length + 1) == "/" then
      return path:sub(length + 1), generation.name
    end
  end
  return path, api.generations[1].name
end

-- nil if this user may, else the answer
local function forbid(endpoint, user)
  local party = user.kind:lower()
  if endpoint.party and party ~= endpoint.party then
    local text = "This action is for a %s, and this user belongs to a %s."
    return 409, detail(text:format(endpoint.party, party))
  end
  if endpoint.permission and not user.permissions[endpoint.permission] then
    return 403, detail "You do not have permission to perform this action."
  end
end

--- Answer a request.
-- @tparam table state `{ accounts, orders, record }`
-- @tparam table request `{ method, path, headers, body }`
-- @tparam ?table decoded the body, if it was JSON
-- @treturn int status
-- @treturn ?table body
-- @treturn ?table header lines
function service.answer(state, request, decoded)
  local path, generation = split(request.path:match("^[^?]*"))
  local endpoint, capture = find(path, generation)
  if not endpoint then return 404, detail "Not found." end
  local user, why
  if not endpoint.open then
    user, why = state.accounts:identify(request.headers.authorization)
    if not user then return 401, detail(why), { "WWW-Authenticate: Token" } end
    local status, body = forbid(endpoint, user)
    if status then return status, body end
  end
  if request.method ~= endpoint.method then
    local message = ('Method "%s" not allowed.'):format(request.method)
    return 405, detail(message), { "Allow: " .. endpoint.method .. ", OPTIONS" }
  end
  local call = { api = generation, uuid = capture, user = user }
  local handler = endpoint.handler
  if handler.fields then
    local media = request.headers["content-type"] or ""
    if media:match("^[^;%s]*"):lower() ~= "application/json" then
      return 415, detail(('Unsupported media type "%s" in request.'):format(media))
    end
    if decoded == nil then
      return 400, detail "JSON parse error - Expecting value: line 1 column 1 (char 0)"
    end
    local errors = check.object(decoded, handler.fields)
    if errors then return 400, errors end
    call.body = decoded
  end
  return handler.call(state, call)
end

return service
