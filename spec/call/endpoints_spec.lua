-- Each endpoint sends the bytes that the service documents, in both generations, however the call
-- is made; and no secret of a login appears in what crux says.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U = helper.ORDER
local ITEM = "0b9e4f5a-1c2d-4e3f-8a9b-0c1d2e3f4a5b"
local PASSWORD = 'top "secret" \\ pass\tword'
local JSON_PASSWORD = [["top \"secret\" \\ pass\tword"]]
local SKU = { supplier_uuid = helper.SUPPLIER, sku_id = "000106", quantity = 2, price = 19.99, expected_sku_cost = "7" }

local FILTER = {
  start = 0, limit = 49, sort = { key = "date", dir = "desc" },
  line_item_allocation_statuses = { "Unallocated", "Partial", "Allocated" }, line_item_designation = "Cancelled",
  start_date = "2018-08-03T06:00:00.000Z", end_date = "2018-08-04 06:00:00", term = "PO-1", org_uuids = { U, ITEM },
  po_number = "PO-2", sent_to_supplier = true,
}
local FILTER_JSON = '{"start":0,"limit":49,"sort":{"key":"date","dir":"desc"},'
  .. '"line_item_allocation_statuses":["Unallocated","Partial","Allocated"],"line_item_designation":"Cancelled",'
  .. '"start_date":"2018-08-03T06:00:00.000Z","end_date":"2018-08-04 06:00:00","term":"PO-1",'
  .. '"org_uuids":["' .. U .. '","' .. ITEM .. '"],"po_number":"PO-2","sent_to_supplier":true}'

-- Name, arguments, request line without the generation's prefix, body: nil for none.
local ROWS = {
  { "login", { username = "ada", password = PASSWORD }, "POST /organizations/user-login/",
    '{"username":"ada","password":' .. JSON_PASSWORD .. "}", open = true,
    shown = '{"username":"ada","password":"[redacted]"}' },
  { "list_orders", {}, "POST /orders/", "{}" },
  { "list_orders", FILTER, "POST /orders/", FILTER_JSON },
  { "get_order", { order_uuid = U }, "GET /orders/" .. U .. "/" },
  { "cancel_order", { order_uuid = U }, "PATCH /orders/cancel/", '{"order_uuid":"' .. U .. '"}' },
  { "cancel_order", { order_uuid = U, skus = { SKU } }, "PATCH /orders/cancel/",
    '{"order_uuid":"' .. U .. '","skus":[{"supplier_uuid":"' .. helper.SUPPLIER
      .. '","sku_id":"000106","quantity":2,"price":"19.99","expected_sku_cost":"7.00"}]}' },
  { "cancel_order_item", { order_item_uuid = ITEM }, "DELETE /orders/items/cancel/" .. ITEM .. "/" },
  { "confirm_order_cancellation", { order_uuid = U }, "PATCH /orders/cancel/" .. U .. "/confirm/", timp = true },
  { "reject_order_cancellation", { order_uuid = U }, "PATCH /orders/cancel/" .. U .. "/reject/", timp = true },
  { "confirm_item_cancellation", { order_item_uuid = ITEM }, "PATCH /orders/items/cancel/" .. ITEM .. "/confirm/",
    timp = true },
  { "reject_item_cancellation", { order_item_uuid = ITEM }, "PATCH /orders/items/cancel/" .. ITEM .. "/reject/",
    timp = true },
}

local server, client

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
end)
teardown(function()
  client:close()
  server:close()
end)

local function with(given, more)
  local copy = {}
  for name, value in pairs(given) do copy[name] = value end
  for name, value in pairs(more) do copy[name] = value end
  return copy
end

-- The whole request, with the documented fields and no other.
local function expected(row, api, body, authorization)
  local method, path = row[3]:match("^(%u+) (.*)$")
  local length = ""
  if method ~= "GET" and method ~= "DELETE" then length = ("Content-Length: %d\r\n"):format(#(body or "")) end
  return ("%s %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: application/json\r\n"
    .. "Content-Type: application/json; charset=utf-8\r\n%s%s\r\n%s"):format(method, api == "timp" and "/timp" or "",
    path, server.base_url:match("//(.*)$"), client:dry_run("get_order", { order_uuid = U }).headers["User-Agent"], length,
    row.open and "" or "Authorization: " .. authorization .. "\r\n", body or "")
end

local function sent() return table.concat(helper.new_requests(server)) end

-- The bytes of a dry run, its fields in the order of a request.
local function bytes_of(dry)
  local lines = { dry.method .. " " .. dry.url:match("^http://[^/]*(.*)$") .. " HTTP/1.1" }
  for _, name in ipairs{ "Host", "User-Agent", "Accept", "Content-Type", "Content-Length", "Authorization" } do
    if dry.headers[name] then lines[#lines + 1] = name .. ": " .. dry.headers[name] end
    dry.headers[name] = nil
  end
  assert.is_nil(next(dry.headers))
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (dry.body or "")
end

for number, row in ipairs(ROWS) do
  local name = row[1]
  describe(name .. ", arguments " .. number, function()
    for _, api in ipairs{ "v1", "timp" } do
      if api == "timp" or not row.timp then
        it("sends the documented bytes in " .. api .. ", blocking, submitted and from crux.core", function()
          local arguments = with(row[2], { api = api })
          local request = expected(row, api, row[4], "Token " .. helper.TOKEN)
          local to = { base_url = server.base_url, token = not row.open and helper.TOKEN or nil }
          sent()
          for _, call in ipairs{
            function() return crux[name](with(arguments, to)) end,
            function() return client[name](client, arguments) end,
            function() return client:call(name, arguments) end,
            function() return core[name](with(arguments, to)) end,
            function() return select(2, assert(client:submit(name, arguments)):wait()) end,
          } do
            local result, err = helper.call(call)
            assert.is_nil(err)
            assert.equal(204, result.status)
            assert.equal(request, sent())
            assert.equal(#request, result.meta.bytes_sent)
          end
          local dry = assert(client:dry_run(name, arguments))
          helper.clean(dry, PASSWORD)
          assert.equal(expected(row, api, row.shown or row[4], "Token [redacted]"), bytes_of(dry))
          assert.equal("", sent())
        end)
      else
        it("is invalid in " .. api .. ", by the field api", function()
          for _, way in ipairs{ "call", "submit", "dry_run" } do
            local _, err = client[way](client, name, with(row[2], { api = api }))
            assert.same({ "invalid", "not_sent", "api" }, { err.kind, err.outcome, err.field })
            assert.is_truthy(err.message:find(name, 1, true), err.message)
          end
          assert.equal("", sent())
        end)
      end
    end

    it("reports a field that is missing, unknown or of the wrong type", function()
      for field, value in pairs(row[2]) do
        local wrong = field == "sent_to_supplier" and "yes" or false
        if field == "sort" then wrong = { key = "price" } end
        local _, err = client[name](client, with(row[2], { [field] = wrong, api = "timp" }))
        assert.equal("invalid", err.kind)
        assert.equal(field, err.field:match("^[%w_]+"), tostring(value))
        helper.clean(err, PASSWORD)
      end
      local _, err = client[name](client, with(row[2], { nonsense = 1, api = "timp" }))
      assert.same({ "invalid", "nonsense" }, { err.kind, err.field })
      assert.equal("", sent())
    end)
  end)
end

describe("list_orders", function()
  it("takes each documented choice, and names them all for another", function()
    for field, choices in pairs{
      line_item_designation = { "HasTracking", "NeedsTracking", "Backordered", "Rejected", "Cancelled" },
    } do
      for _, choice in ipairs(choices) do assert(client:dry_run("list_orders", { [field] = choice })) end
      local _, err = client:list_orders{ [field] = "Lost" }
      assert.equal("line_item_designation: expected 'HasTracking', 'NeedsTracking', 'Backordered', 'Rejected' or "
        .. "'Cancelled', found 'Lost'", err.message)
    end
    for _, key in ipairs{ "date", "status", "sku_id" } do
      for _, dir in ipairs{ "asc", "desc" } do
        assert(client:dry_run("list_orders", { sort = { key = key, dir = dir } }))
      end
    end
  end)

  it("refuses positions below 0, and lists without an item", function()
    for field, value in pairs{ start = -1, limit = 1.5, org_uuids = {}, line_item_allocation_statuses = {} } do
      local _, err = client:list_orders{ [field] = value }
      assert.same({ "invalid", field }, { err.kind, err.field })
    end
  end)

  it("changes nothing, so that it is repeated after an unknown", function()
    local cut = fault.serve{ script = [[
      conn:request()
      if n == 1 then return conn:cut() end
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    ]] }
    local result = assert(helper.call(crux.list_orders, { token = helper.TOKEN, base_url = cut.base_url }))
    assert.same({ 200, 2, 2 }, { result.status, result.meta.attempts, result.meta.sends })
    cut:close()
  end)
end)

describe("what changes an order", function()
  for _, name in ipairs{
    "cancel_order_item", "confirm_order_cancellation", "reject_order_cancellation", "confirm_item_cancellation",
    "reject_item_cancellation",
  } do
    it("is never repeated after an unknown, and says where to look: " .. name, function()
      local cut = fault.serve{ script = "conn:request() conn:cut()" }
      local arguments = { token = helper.TOKEN, base_url = cut.base_url, api = "timp" }
      arguments[name:find("item", 1, true) and "order_item_uuid" or "order_uuid"] = ITEM
      local _, err = helper.call(crux[name], arguments)
      assert.same({ "unknown", false, 1 }, { err.outcome, err.retryable, err.meta.attempts })
      assert.equal("it may have been carried out: look with get_order before sending it again", err.hint)
      assert.equal(1, #helper.new_requests(cut))
      cut:close()
    end)
  end
end)

describe("the hints of an endpoint", function()
  for name, hints in pairs{
    login = { [401] = "the username or the password is wrong" },
    list_orders = { [403] = "the token's user lacks the permission view_order" },
    cancel_order_item = {
      [404] = "no such URL, or no such line: check base_url, api and order_item_uuid",
      [409] = "the token belongs to an organization of the wrong kind: cancel_order_item is for retailers",
    },
    confirm_order_cancellation = {
      [409] = "the token belongs to an organization of the wrong kind: confirm_order_cancellation is for suppliers",
      [422] = "no cancellation of this order waits for this supplier",
    },
    reject_item_cancellation = { [422] = "no cancellation of this line waits for this supplier" },
  } do
    it("say what to do about a status: " .. name, function()
      local arguments = { token = helper.TOKEN, base_url = server.base_url, api = "timp" }
      for _, row in ipairs(ROWS) do
        if row[1] == name then arguments = with(row[2], arguments) end
      end
      for status, hint in pairs(hints) do
        server:set{ answer = ("HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n"):format(status) }
        local _, err = helper.call(crux[name], arguments)
        assert.same({ status, hint }, { err.status, err.hint })
      end
      server:set{ answer = helper.response(204) }
    end)
  end
end)

describe("login", function()
  local function refusal(media, body)
    return ("HTTP/1.1 400 X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"):format(media, #body, body)
  end

  -- The server's own words, with the password in each form that a server may repeat it in.
  local ECHOES = {
    refusal("application/json", '{"detail":"no user ada with ' .. JSON_PASSWORD:sub(2, -2) .. '"}'),
    refusal("application/json", '{"password":[' .. JSON_PASSWORD .. "]}"),
    refusal("text/plain", "got: " .. JSON_PASSWORD),
  }

  it("never shows the password, whatever the server says", function()
    for _, echo in ipairs(ECHOES) do
      server:set{ answer = echo }
      local events = {}
      local arguments = { username = "ada", password = PASSWORD, base_url = server.base_url }
      for _, call in ipairs{
        core.login, function(given) return crux.login(with(given, { on_event = function(e) events[#events + 1] = e end })) end,
      } do
        local _, err = helper.call(call, arguments)
        assert.same({ "rejected", "http", 400 }, { err.outcome, err.kind, err.status })
        helper.clean(err, PASSWORD)
        for _, secret in ipairs{ PASSWORD, JSON_PASSWORD:sub(2, -2), "pass\tword", "pass word" } do
          assert.is_nil(tostring(err):find(secret, 1, true), tostring(err))
        end
        assert.is_truthy(err.message:find("[redacted]", 1, true), err.message)
      end
      assert.is_true(#events > 1)
      helper.clean(events, PASSWORD)
    end
    server:set{ answer = helper.response(204) }
  end)

  it("needs no token and sends none", function()
    helper.new_requests(server)
    assert(core.login{ username = "ada", password = PASSWORD, base_url = server.base_url })
    assert(client:login{ username = "ada", password = PASSWORD })
    local requests = helper.new_requests(server)
    assert.equal(2, #requests)
    for _, request in ipairs(requests) do assert.is_nil(request:find("Authorization", 1, true)) end
  end)

  it("may be repeated after an unknown", function()
    local cut = fault.serve{ script = "conn:request() conn:cut()" }
    local _, err = helper.call(crux.login,
      { username = "ada", password = PASSWORD, base_url = cut.base_url, retries = 1 })
    assert.same({ "unknown", true, 2 }, { err.outcome, err.retryable, err.meta.attempts })
    cut:close()
  end)

  it("as a dry run shows neither the password nor its length, and is marked as not runnable", function()
    for _, password in ipairs{ PASSWORD, "p", '","username":"x' } do
      local dry = assert(client:dry_run("login", { username = "password", password = password }))
      assert.equal('{"username":"password","password":"[redacted]"}', dry.body)
      assert.equal(tostring(#dry.body), dry.headers["Content-Length"])
      assert.is_nil(dry.headers.Authorization)
      assert.is_truthy(tostring(dry):find(" # not runnable: the password is redacted$"), tostring(dry))
    end
  end)
end)
