-- The servers that other specs use: the sandbox responds as documented, and the fault server does
-- what its scripts say. These specs use plain sockets and not crux, so they run under one Lua
-- (#tree).

local loaded, socket = pcall(require, "cqueues.socket")
if not loaded then
  pending("the sandbox: lua-cqueues is not there for this Lua")
  return
end

local cjson = require("cjson").new()
local fault = require "spec.support.fault"
local process = require "spec.support.process"

local ECONNRESET = require("cqueues.errno").ECONNRESET
local SUPPLIER, OTHER = "757ce28d-fbd6-4b9f-8051-f847482e169f", "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e"
local UNKNOWN = "00000000-0000-4000-8000-000000000000"

local function connect(port, tls)
  local con = socket.connect{ host = "127.0.0.1", port = tonumber(port), nodelay = true }
  con:setmode("b", "bn")
  con:settimeout(5)
  con:onerror(function(_, _, why) return why end)
  if tls then
    local ok, why = con:starttls(tls)
    if not ok then
      con:close()
      return nil, why
    end
  end
  return con
end

local function trusting(ca_file)
  local context = require "openssl.ssl.context"
  local store = require("openssl.x509.store").new()
  store:add(ca_file)
  local tls = context.new("TLS", false)
  tls:setStore(store)
  tls:setVerify(context.VERIFY_PEER)
  return tls
end

-- Reads one response with a length from a connection that may carry more.
local function read_response(con)
  local head = con:xread("*L")
  if not head then return nil end
  local status = tonumber(head:match("^HTTP/1%.1 (%d+)"))
  local headers = {}
  for line in function() return con:xread("*L") end do
    if line == "\r\n" then break end
    local name, value = line:match("^([^:]+): (.-)\r\n$")
    headers[name:lower()] = value
  end
  local length = tonumber(headers["content-length"] or 0)
  local raw = length > 0 and con:xread(length) or ""
  local json = headers["content-type"] == "application/json"
  return { status = status, headers = headers, raw = raw, body = json and cjson.decode(raw) or nil }
end

local function request_bytes(method, path, token, body, media)
  local text = type(body) == "table" and cjson.encode(body) or body or ""
  local lines = { method .. " " .. path .. " HTTP/1.1", "Host: 127.0.0.1" }
  if token then lines[#lines + 1] = "Authorization: Token " .. token end
  if text ~= "" then lines[#lines + 1] = "Content-Type: " .. (media or "application/json; charset=utf-8") end
  lines[#lines + 1] = "Content-Length: " .. #text
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. text
end

local function drain(con)
  local parts = {}
  while true do
    local data, why = con:xread(-4096)
    if not data then return table.concat(parts), why end
    parts[#parts + 1] = data
  end
end

describe("the sandbox #tree", function()
  local sandbox, tokens, con

  setup(function()
    sandbox = process.sandbox{ orders = 30, plain = true }
    tokens = sandbox.tokens
    con = connect(sandbox.port)
  end)

  teardown(function()
    con:close()
    sandbox:close()
  end)

  local next_order = 0
  local function order()
    next_order = next_order + 1
    return sandbox.orders[next_order]
  end

  local function ask(...)
    con:write(request_bytes(...))
    return assert(read_response(con), "expected a response, found that the connection ended")
  end

  local function cancel(token, body, media) return ask("PATCH", "/orders/cancel/", token, body, media) end

  local function statuses(uuid)
    local found = {}
    for i, item in ipairs(ask("GET", "/orders/" .. uuid .. "/", tokens.retailer).body.line_items) do
      found[i] = item.status
    end
    return found
  end

  it("cancels a whole order once", function()
    local uuid = order()
    assert.same({ "Unallocated", "Unallocated" }, statuses(uuid))
    local answer = cancel(tokens.retailer, { order_uuid = uuid:upper() })
    assert.same({ 204, "" }, { answer.status, answer.raw })
    assert.same({ "Cancelled", "Cancelled" }, statuses(uuid))
    assert.equal(422, cancel(tokens.retailer, { order_uuid = uuid }).status)
    assert.same({ received = 2, executed = 1, answers = { 204, 422 } }, sandbox:record().cancels[uuid])
  end)

  it("cancels the SKUs that are named", function()
    local uuid = order()
    local skus = { { supplier_uuid = SUPPLIER, sku_id = "000106", quantity = 2 } }
    assert.equal(204, cancel(tokens.retailer, { order_uuid = uuid, skus = skus }).status)
    assert.same({ "Cancelled", "Unallocated" }, statuses(uuid))
    assert.equal(422, cancel(tokens.retailer, { order_uuid = uuid, skus = skus }).status)
    assert.equal(204, cancel(tokens.retailer, { order_uuid = uuid, skus = { { supplier_uuid = OTHER } } }).status)
    assert.same({ "Cancelled", "Cancelled" }, statuses(uuid))
  end)

  it("serves the API generation timp", function()
    local uuid = order()
    assert.equal(204, ask("PATCH", "/timp/orders/cancel/", tokens.retailer, { order_uuid = uuid }).status)
    local item = ask("GET", "/timp/orders/" .. uuid .. "/", tokens.supplier).body.line_items[1]
    assert.same({ "Cancelled", SUPPLIER, 2 }, { item.status, item.supplier.uuid, item.allocation.quantity_rejected })
    assert.is_string(item.line_item_uuid)
  end)

  it("rejects with the documented statuses", function()
    local uuid = order()
    local body = { order_uuid = uuid }
    for _, row in ipairs{
      { 401, "Authentication credentials were not provided.", cancel(nil, body) },
      { 401, "Invalid token.", cancel("nobodys", body) },
      { 401, "Token has expired.", cancel(tokens.expired, body) },
      { 403, "You do not have permission to perform this action.", cancel(tokens.clerk, body) },
      { 409, "This action is for a retailer, and this user belongs to a supplier.", cancel(tokens.supplier, body) },
      { 415, 'Unsupported media type "text/plain" in request.', cancel(tokens.retailer, body, "text/plain") },
      { 422, "There is no such order.", cancel(tokens.retailer, { order_uuid = UNKNOWN }) },
      { 422, "This order is no longer pending.", cancel(tokens.retailer, { order_uuid = sandbox.shipped_order }) },
      { 405, 'Method "POST" not allowed.', ask("POST", "/orders/cancel/", tokens.retailer, body) },
      { 404, "Not found.", ask("PATCH", "/orders/cancel", tokens.retailer, body) },
      { 422, "There is no such order.", ask("GET", "/orders/" .. UNKNOWN .. "/", tokens.retailer) },
    } do
      assert.same({ row[1], { detail = row[2] } }, { row[3].status, row[3].body })
    end
    assert.equal("Token", cancel(nil, body).headers["www-authenticate"])
    assert.equal(0, sandbox:record().cancels[uuid].executed)
  end)

  it("reports missing and invalid fields as Django REST Framework does", function()
    local required = { "This field is required." }
    local uuid = order()
    for _, row in ipairs{
      { "{}", { order_uuid = required } },
      { { order_uuid = "x" }, { order_uuid = { '"x" is not a valid UUID.' } } },
      { "[1]", { non_field_errors = { "Invalid data. Expected a dictionary, but got list." } } },
      { "{", { detail = "JSON parse error - Expecting value: line 1 column 1 (char 0)" } },
      { { order_uuid = uuid, skus = "x" },
        { skus = { non_field_errors = { 'Expected a list of items but got type "str".' } } } },
      { { order_uuid = uuid, skus = { { supplier_uuid = SUPPLIER }, { quantity = 0 } } },
        { skus = { {}, { supplier_uuid = required,
                         quantity = { "Ensure this value is greater than or equal to 1." } } } } },
      { { order_uuid = uuid, skus = { { supplier_uuid = SUPPLIER, quantity = 3 } } },
        { skus = { { non_field_errors = { "Quantity is more than was ordered." } } } } },
    } do
      local answer = cancel(tokens.retailer, row[1])
      assert.same({ 400, row[2] }, { answer.status, answer.body })
    end
  end)

  it("logs in, creates orders and lists them", function()
    local login = ask("POST", "/organizations/user-login/", nil, { username = "retailer", password = "retailer" })
    assert.same({ 200, "RETAILER", "" }, { login.status, login.body.org_type, login.body.supplier_uuid })
    assert.equal(401, ask("POST", "/organizations/user-login/", nil, { username = "x", password = "y" }).status)
    local skus = { { sku_id = "000042", supplier_uuid = SUPPLIER, quantity = 1, price = "2.00" } }
    local made = ask("POST", "/orders/create/", login.body.auth_token, { skus = skus, notes = "by the door" })
    assert.same({ 201, "000042" }, { made.status, made.body.line_items[1].sku_id })
    local listed = ask("POST", "/orders/", tokens.retailer, { limit = 1, sort = { key = "date", dir = "desc" } })
    assert.equal(made.body.uuid, listed.body.orders[1].uuid)
    assert.equal(204, cancel(login.body.auth_token, { order_uuid = made.body.uuid }).status)
  end)

  it("injects the fault of a fault directive", function()
    local uuid = order()
    local body = { order_uuid = uuid }
    local busy = ask("PATCH", "/~status=503,retry_after=2/orders/cancel/", tokens.retailer, body)
    assert.same({ 503, "2" }, { busy.status, busy.headers["retry-after"] })
    for directive, executed in pairs{ ["drop=before"] = 0, ["drop=after"] = 1 } do
      local id = order()
      local single = connect(sandbox.port)
      single:write(request_bytes("PATCH", "/~" .. directive .. "/orders/cancel/", tokens.retailer, { order_uuid = id }))
      assert.is_nil(read_response(single))
      single:close()
      assert.same({ received = 1, executed = executed, answers = { 0 } }, sandbox:record().cancels[id])
    end
    assert.equal(429, ask("PATCH", "/~status=429,times=1/orders/cancel/", tokens.retailer, body).status)
    assert.equal(204, ask("PATCH", "/~status=429,times=1/orders/cancel/", tokens.retailer, body).status)
  end)

  it("injects random faults, and records them", function()
    local wild = process.sandbox{ plain = true, orders = 200, random = 7, rate = 0.5 }
    finally(function() wild:close() end)
    local got, kinds = {}, {}
    for _, uuid in ipairs(wild.orders) do
      local single = connect(wild.port)
      single:write(request_bytes("PATCH", "/orders/cancel/", wild.tokens.retailer, { order_uuid = uuid }))
      local answer = read_response(single)
      got[uuid] = answer and answer.status or 0
      kinds[got[uuid]] = true
      single:close()
    end
    assert.same({ [0] = true, [204] = true, [429] = true, [500] = true, [503] = true }, kinds)
    local cancels = wild:record().cancels
    for uuid, status in pairs(got) do
      local entry = cancels[uuid]
      assert.same({ status }, entry.answers)
      if status == 204 or status == 500 then assert.equal(1, entry.executed) end
      if status == 429 or status == 503 then assert.equal(0, entry.executed) end
    end
  end)

  it("has a valid certificate, and keeps connections open", function()
    local secure = process.sandbox{}
    finally(function() secure:close() end)
    local single = assert(connect(secure.port, trusting(secure.ca_file)))
    for i = 1, 3 do
      single:write(request_bytes("PATCH", "/orders/cancel/", secure.tokens.retailer, { order_uuid = secure.orders[i] }))
      assert.equal(204, read_response(single).status)
    end
    single:close()
    local record = secure:record()
    assert.same({ 1, 3 }, { record.connections, record.requests })
  end)

  it("expires tokens, keeps a journal, and leaves no files when it is killed", function()
    local journal = os.tmpname()
    local short = process.sandbox{ lifetime = 0, journal = journal }
    finally(function()
      short:close()
      os.remove(journal)
    end)
    local single = assert(connect(short.port, trusting(short.ca_file)))
    single:write(request_bytes("PATCH", "/orders/cancel/", short.tokens.retailer, { order_uuid = short.orders[1] }))
    assert.equal(401, read_response(single).status)
    single:close()
    short:kill()
    short:close()
    assert.is_nil(io.open(short.ca_file))
    local file = assert(io.open(journal))
    assert.equal(("received %s\nanswered %s 401\n"):format(short.orders[1], short.orders[1]), file:read("*a"))
    file:close()
  end)
end)

describe("the fault server #tree", function()
  local ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
  local REQUEST = request_bytes("PATCH", "/", nil, "hi")

  teardown(fault.stop)

  for _, tls in ipairs{ false, "good" } do
    it("truncates a response with FIN or RST, over " .. (tls and "TLS" or "TCP"), function()
      local server = fault.serve{ tls = tls or nil, script = fault.CUT, shared = { answer = ANSWER } }
      finally(function() server:close() end)
      for _, how in ipairs{ "fin", "cut", "rst" } do
        for _, case in ipairs{ { 0, 0 }, { 20, 0 }, { 0, 1 }, { 20, 1 } } do
          local cut, warm = case[1], case[2]
          server:set({ cut = cut, how = how, warm = warm }, true)
          local con = assert(connect(server.port, tls and trusting(fault.ca_file)))
          for _ = 1, warm do
            con:write(REQUEST)
            assert.equal("hello", read_response(con).raw)
          end
          con:write(REQUEST)
          local data, why = drain(con)
          con:close()
          assert.equal(ANSWER:sub(1, cut), data)
          -- cqueues drops an error that comes right after data
          if cut == 0 then assert.equal(how == "rst" and ECONNRESET or nil, why) end
          local record = server:record()
          assert.same({ 1, 1 + warm, REQUEST:rep(1 + warm), how },
            { record.connections, record.requests, record.conns[1].data, record.conns[1].closed })
        end
      end
    end)
  end

  it("records bytes that no script has read", function()
    local server = fault.serve{ script = "conn:hold()" }
    finally(function() server:close() end)
    local con = connect(server.port)
    for _, text in ipairs{ "abc", "def" } do
      con:write(text)
      local seen = server:record()
      assert.equal(text, seen.conns[1].data:sub(-3))
    end
    con:close()
    assert.equal("fin", server:record().conns[1].eof)
  end)

  it("breaks off handshakes", function()
    for how, expected in pairs{ cut = false, rst = ECONNRESET } do
      local server = fault.serve{ tls = "good", script = "conn:raw(10) conn:" .. how .. "()" }
      local con, why = connect(server.port, trusting(fault.ca_file))
      assert.is_nil(con)
      if expected then assert.equal(expected, why) end
      local record = server:record()
      assert.is_true(record.raw >= 10)
      assert.same({ 0, how }, { record.bytes, record.conns[1].closed })
      server:close()
    end
  end)

  it("has certificates that are not trusted", function()
    for tls, trusted in pairs{ good = true, wrong_name = true, self_signed = false, expired = false } do
      local server = fault.serve{ tls = tls, script = "conn:handshake()" }
      local con = connect(server.port, trusting(fault.ca_file))
      assert.equal(trusted, con ~= nil)
      if con then con:close() end
      server:close()
    end
  end)

  it("has ports that refuse, and ports that do not respond", function()
    local errno = require "cqueues.errno"
    for expected, server in pairs{ [errno.ECONNREFUSED] = fault.refused(), [errno.ETIMEDOUT] = fault.silent() } do
      local con = socket.connect{ host = "127.0.0.1", port = server.port }
      con:onerror(function(_, _, why) return why end)
      local ok, why = con:connect(0.2)
      assert.same({ nil, expected }, { ok, why })
      con:close()
      server:close()
    end
  end)

  it("keeps a port that refuses from being bound by others", function()
    local server = fault.refused()
    local other = socket.listen{ host = "127.0.0.1", port = server.port, reuseaddr = true }
    other:onerror(function(_, _, why) return why end)
    local _, why = other:listen()
    assert.equal(require("cqueues.errno").EADDRINUSE, why)
    other:close()
    server:close()
  end)

  it("reports errors in scripts", function()
    assert.error_matches(function() fault.serve{ script = "x x" } end, "syntax error")
    local server = fault.serve{ script = "error 'boo'" }
    local con = connect(server.port)
    drain(con)
    con:close()
    assert.matches("boo", server:record().errors[1])
    server:close()
  end)
end)
