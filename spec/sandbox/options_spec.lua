-- The options of the sandbox, and what it goes on with after a restart. Plain sockets, and not
-- crux, so they run under one Lua (#tree).

local loaded = pcall(require, "cqueues.socket")
if not loaded then
  pending("the sandbox: lua-cqueues is not there for this Lua")
  return
end

local cjson = require("cjson").new()
local bare = require "spec.support.bare"
local process = require "spec.support.process"
local program = require "spec.support.program"

local UNKNOWN = "00000000-0000-4000-8000-000000000000"
local connect, trusting = bare.connect, bare.trusting
local read_response, request_bytes = bare.read_response, bare.request_bytes

describe("an option of the sandbox #tree", function()
  local sandbox, con

  local function open(options)
    options.plain = true
    sandbox = process.sandbox(options)
    con = connect(sandbox.port)
    return sandbox.tokens
  end
  after_each(function()
    con:close()
    sandbox:close()
  end)

  local function ask(...)
    con:write(request_bytes(...))
    return assert(read_response(con), "expected a response, found that the connection ended")
  end

  -- A new connection, or nil if it is refused.
  local function reach()
    local made = connect(sandbox.port)
    if made:connect() then return made end
    made:close()
    return nil
  end

  local function cancel(uuid) return ask("PATCH", "/orders/cancel/", sandbox.tokens.retailer, { order_uuid = uuid }).status end
  local function lines(uuid, api)
    return ask("GET", (api or "") .. "/orders/" .. uuid .. "/", sandbox.tokens.retailer).body.line_items
  end
  local function statuses(uuid)
    local found = {}
    for i, item in ipairs(lines(uuid)) do found[i] = item.status end
    return found
  end
  local function decide(path, token) return ask("PATCH", "/timp/orders/" .. path .. "/", token).status end

  it("has each supplier confirm or reject an order: --confirm manual", function()
    local tokens = open{ confirm = "manual" }
    local uuid = sandbox.orders[1]
    assert.equal(422, decide("cancel/" .. uuid .. "/confirm", tokens.supplier))
    assert.equal(204, cancel(uuid))
    assert.equal(422, cancel(uuid))
    assert.same({ "Unallocated", "Unallocated" }, statuses(uuid))
    assert.equal(409, decide("cancel/" .. uuid .. "/confirm", tokens.retailer))
    assert.equal(404, decide("cancel/" .. UNKNOWN .. "/confirm", tokens.supplier))
    assert.equal(204, decide("cancel/" .. uuid .. "/confirm", tokens.supplier))
    assert.same({ "Cancelled", "Unallocated" }, statuses(uuid))
    assert.equal(422, decide("cancel/" .. uuid .. "/reject", tokens.supplier))
    assert.equal(204, decide("cancel/" .. uuid .. "/reject", tokens.other_supplier))
    assert.same({ "Cancelled", "Unallocated" }, statuses(uuid))
    assert.equal(204, cancel(uuid))
    assert.same({ received = 3, executed = 2, answers = { 204, 422, 204 } }, sandbox:record().cancels[uuid])
    assert.equal(404, ask("PATCH", "/orders/cancel/" .. uuid .. "/confirm/", tokens.supplier).status)
  end)

  it("cancels a line, which its supplier confirms or rejects", function()
    local tokens = open{ confirm = "manual" }
    local uuid = sandbox.orders[1]
    local shown = lines(uuid, "/timp")
    assert.equal(cjson.null, shown[1].line_item_designation)
    local first, second = shown[1].line_item_uuid, shown[2].line_item_uuid
    local function drop(item, token)
      return ask("DELETE", "/orders/items/cancel/" .. item .. "/", token or tokens.retailer).status
    end
    assert.equal(409, drop(first, tokens.supplier))
    assert.equal(403, drop(first, tokens.clerk))
    assert.equal(404, drop(UNKNOWN))
    assert.equal(204, drop(first:upper()))
    assert.equal(422, drop(first))
    assert.equal(204, drop(second))
    assert.equal(204, decide("items/cancel/" .. first .. "/reject", tokens.supplier))
    assert.equal(422, decide("items/cancel/" .. second .. "/confirm", tokens.supplier))
    assert.equal(204, decide("items/cancel/" .. second .. "/confirm", tokens.other_supplier))
    assert.same({ "Unallocated", "Cancelled" }, statuses(uuid))
    assert.equal("Cancelled", lines(uuid, "/timp")[2].line_item_designation)
    assert.same({ received = 1, executed = 1, answers = { 204 } }, sandbox:record().cancels[second])
  end)

  it("has cancellations confirmed after a time: --confirm SECONDS", function()
    open{ confirm = 1 }
    local uuid = sandbox.orders[1]
    assert.equal(204, cancel(uuid))
    local seen = statuses(uuid)
    assert.same({ "Unallocated", "Unallocated" }, seen)
    repeat seen = statuses(uuid) until seen[1] == "Cancelled"
    assert.same({ "Cancelled", "Cancelled" }, seen)
  end)

  for limit, expected in pairs{ position = { 3, 4, 5 }, size = { 3, 4, 5, 6, 7 } } do
    it("decides what limit is in a list: --limit " .. limit, function()
      local tokens = open{ orders = 10, limit = limit }
      local answer = ask("POST", "/orders/", tokens.retailer, { start = 2, limit = limit == "size" and 5 or 4 })
      assert.equal(200, answer.status)
      assert.equal(11, answer.body.total_results)
      assert.equal(#expected, #answer.body.orders)
      for i, number in ipairs(expected) do assert.equal(sandbox.orders[number], answer.body.orders[i].uuid) end
      assert.equal(0, #ask("POST", "/orders/", tokens.retailer, { start = 11, limit = 20 }).body.orders)
    end)
  end

  it("checks the fields of a list", function()
    local tokens = open{}
    for field, value in pairs{
      start = -1, limit = "x", sort = { key = "price" }, line_item_allocation_statuses = { "Lost" },
      line_item_designation = { "Cancelled" }, start_date = "yesterday", end_date = "2018-08-03 6:00", term = "",
      org_uuids = { "x" }, po_number = true, sent_to_supplier = "yes",
    } do
      local answer = ask("POST", "/orders/", tokens.retailer, { [field] = value })
      assert.equal(400, answer.status, field)
      assert.is_truthy(answer.body[field], field)
    end
  end)

  it("limits the requests of a second: --rate-limit", function()
    local tokens = open{ rate_limit = 3 }
    local counts, throttled = {}, nil
    repeat
      local answer = ask("GET", "/orders/" .. sandbox.orders[1] .. "/", tokens.retailer)
      counts[answer.status] = (counts[answer.status] or 0) + 1
      throttled = answer.status == 429 and answer or throttled
    until throttled or counts[200] > 1000
    assert.is_true(counts[200] >= 3)
    assert.equal("1", throttled.headers["retry-after"])
  end)

  it("has an outage on cue", function()
    local tokens = open{}
    local function read() return ask("GET", "/orders/" .. sandbox.orders[1] .. "/", tokens.retailer).status end
    assert.equal(404, ask("GET", "/~outage/nonsense=1/").status)
    assert.equal(200, ask("GET", "/~outage/status=503/").status)
    assert.same({ 503, 503 }, { read(), read() })
    assert.equal(200, ask("GET", "/~outage/").status)
    assert.equal(200, read())
    ask("GET", "/~outage/status=429,retry_after=1,seconds=0.2/")
    assert.equal(429, read())
    local status
    repeat status = read() until status ~= 429
    assert.equal(200, status)
    ask("GET", "/~outage/status=502,times=2/")
    assert.same({ 502, 502, 200 }, { read(), read(), read() })
  end)

  for name, begin in pairs{
    ["a page"] = function() return ask("GET", "/~outage/refuse=yes,seconds=60/").status end,
    ["a line on stdin"] = function() sandbox:outage("refuse=yes,seconds=60") return 200 end,
  } do
    it("refuses connections on cue, by " .. name, function()
      local tokens = open{}
      local busy = connect(sandbox.port)
      local function request(directives)
        return request_bytes("PATCH", "/~" .. directives .. "/orders/cancel/", tokens.retailer,
          { order_uuid = sandbox.orders[1] })
      end
      busy:write(request("delay_after=300"))
      repeat local entry = sandbox:record().cancels[sandbox.orders[1]] until entry and entry.executed == 1
      assert.equal(200, begin())
      assert.is_nil(read_response(con))
      assert.is_nil(read_response(busy))
      busy:close()
      for _ = 1, 2 do assert.is_nil(reach()) end
      sandbox:outage("")
      local again
      repeat again = reach() until again
      again:write(request("close=yes"))
      assert.equal(422, read_response(again).status)
      again:close()
      assert.equal(2, sandbox:record().cancels[sandbox.orders[1]].received)
    end)
  end

  it("accepts connections again when an outage is over", function()
    open{}
    assert.equal(404, ask("GET", "/~outage/refuse=yes/").status)
    assert.equal(200, ask("GET", "/~outage/refuse=yes,seconds=0.3/").status)
    local again
    local refused = 0
    repeat
      again = reach()
      if not again then refused = refused + 1 end
    until again
    assert.is_true(refused > 0)
    again:close()
  end)

  it("ends the earlier tokens of a user who logs in: --revoke", function()
    local tokens = open{ revoke = true }
    local function read(token) return ask("GET", "/orders/" .. sandbox.orders[1] .. "/", token).status end
    assert.equal(200, read(tokens.retailer))
    local login = ask("POST", "/timp/organizations/user-login/", nil, { username = "retailer", password = "retailer" })
    assert.same({ 401, 200, 200 }, { read(tokens.retailer), read(login.body.auth_token), read(tokens.supplier) })
  end)
end)

describe("a restarted sandbox #tree", function()
  local function once(sandbox, ...)
    local con = assert(connect(sandbox.port, trusting(sandbox.ca_file)))
    con:write(request_bytes(...))
    local answer = assert(read_response(con))
    con:close()
    return answer
  end

  for _, how in ipairs{ "close", "kill" } do
    it("goes on with its port, authority, tokens, orders and record, after " .. how, function()
      local path, second = os.tmpname(), nil
      finally(function()
        if second then second:close() end
        os.remove(path)
        os.remove(path .. ".ca.pem")
      end)
      local options = { state = path, orders = 3, confirm = "manual" }
      local first = process.sandbox(options)
      local tokens, uuid = first.tokens, first.orders[1]
      local shown = once(first, "GET", "/orders/" .. first.orders[2] .. "/", tokens.retailer).body
      assert.equal(204, once(first, "PATCH", "/orders/cancel/", tokens.retailer, { order_uuid = uuid }).status)
      local login = once(first, "POST", "/organizations/user-login/", nil, { username = "retailer", password = "retailer" })
      local trusted = program.read(first.ca_file)
      if how == "kill" then first:kill() end
      first:close()

      second = process.sandbox(options)
      assert.same({ first.port, first.base_url, first.ca_file, tokens, first.orders, first.shipped_order },
        { second.port, second.base_url, second.ca_file, second.tokens, second.orders, second.shipped_order })
      assert.equal(trusted, program.read(second.ca_file))
      assert.same(shown, once(second, "GET", "/orders/" .. first.orders[2] .. "/", login.body.auth_token).body)
      assert.equal(401, once(second, "GET", "/orders/" .. uuid .. "/", tokens.expired).status)
      assert.equal(422, once(second, "PATCH", "/orders/cancel/", tokens.retailer, { order_uuid = uuid }).status)
      assert.same({ received = 2, executed = 1, answers = { 204, 422 } }, second:record().cancels[uuid])
      assert.equal(204, once(second, "PATCH", "/timp/orders/cancel/" .. uuid .. "/confirm/", tokens.supplier).status)
      local lines = once(second, "GET", "/orders/" .. uuid .. "/", tokens.retailer).body.line_items
      assert.same({ "Cancelled", "Unallocated", 2 },
        { lines[1].status, lines[2].status, lines[1].allocation.quantity_rejected })
    end)
  end

  it("takes a file whose last line was cut off", function()
    local path = os.tmpname()
    program.write(path, '["seed","port",')
    local sandbox = process.sandbox{ state = path }
    finally(function()
      sandbox:close()
      os.remove(path)
      os.remove(path .. ".ca.pem")
    end)
    assert.equal(200, once(sandbox, "GET", "/orders/" .. sandbox.orders[1] .. "/", sandbox.tokens.retailer).status)
  end)
end)
