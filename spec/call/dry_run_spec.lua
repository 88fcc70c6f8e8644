-- client:dry_run returns the request that a call sends, except for the token.
local cjson = require "cjson"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U, S = helper.ORDER, helper.SUPPLIER
local server

setup(function() server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } } end)
teardown(function() server:close() end)

local function parse(request)
  local head, body = request:match("^(.-)\r\n\r\n(.*)$")
  local headers, count = {}, 0
  for name, value in head:gmatch("\r\n([^:]+): ([^\r]*)") do
    assert.is_nil(headers[name], name .. " twice")
    headers[name], count = value, count + 1
  end
  return head:match("^(%S+) (%S+) HTTP/1%.1"), select(2, head:match("^(%S+) (%S+)")), headers, body
end

describe("client:dry_run", function()
  for _, row in ipairs{
    { "cancel_order", { order_uuid = U }, what = "whole order" },
    { "cancel_order", { order_uuid = U:upper(), skus = { { supplier_uuid = S, sku_id = "000106",
      quantity = 2, price = 19.99, expected_sku_cost = "7" } } }, what = "one SKU with every field" },
    { "cancel_order", { order_uuid = U, skus = { { supplier_uuid = S }, { supplier_uuid = S,
      sku_id = "\195\169\"\\/\n" } } }, what = "SKUs with escaped characters" },
    { "get_order", { order_uuid = U }, what = "whole order" },
  } do
    for _, options in ipairs{ {}, { api = "timp", user_agent = "shop/1.2" } } do
      local with = options.api and ", with options" or ""
      it(("returns the request of %s, %s%s"):format(row[1], row.what, with), function()
        local arguments = { token = helper.TOKEN, base_url = server.base_url .. "/prefix/" }
        for _, from in ipairs{ row[2], options } do for name, value in pairs(from) do arguments[name] = value end end
        local client = assert(crux.new())
        local shown = assert(client:dry_run(row[1], arguments))
        helper.clean(shown)
        helper.new_requests(server)
        for _, call in ipairs{ core[row[1]], crux[row[1]], function(a) return client[row[1]](client, a) end } do
          assert.equal("accepted", helper.call(call, arguments).outcome)
        end
        local sent = helper.new_requests(server)
        assert.equal(3, #sent)
        for _, request in ipairs(sent) do
          local method, path, headers, body = parse(request)
          assert.equal(shown.method, method)
          assert.equal(shown.url, server.base_url .. path)
          assert.equal(("/prefix%s/orders/%s/"):format(options.api and "/timp" or "",
            row[1] == "get_order" and U or "cancel"), path)
          assert.equal("Token " .. helper.TOKEN, headers.Authorization)
          headers.Authorization = "Token [redacted]"
          assert.same(shown.headers, headers)
          if shown.body then
            assert.same(cjson.decode(shown.body), cjson.decode(body))
            assert.equal(#shown.body, #body)
            assert.equal(tostring(#body), headers["Content-Length"])
          else
            assert.equal("", body)
            assert.is_nil(headers["Content-Length"])
          end
        end
        client:close()
      end)
    end
  end

  it("returns headers with the documented names and values", function()
    local client = assert(crux.new{ base_url = "https://example.com:8443", token = helper.TOKEN })
    local shown = assert(client:dry_run("cancel_order", { order_uuid = U, skus = { { supplier_uuid = S } } }))
    assert.same({ "PATCH", "https://example.com:8443/orders/cancel/" }, { shown.method, shown.url })
    assert.same({
      Host = "example.com:8443", Authorization = "Token [redacted]",
        ["Content-Type"] = "application/json; charset=utf-8",
      Accept = "application/json", ["User-Agent"] = "crux/" .. crux._VERSION,
        ["Content-Length"] = tostring(#shown.body),
    }, shown.headers)
    shown = assert(client:dry_run("get_order", { order_uuid = U }))
    assert.same({ "GET", "https://example.com:8443/orders/" .. U .. "/" }, { shown.method, shown.url })
    assert.is_nil(shown.body)
    client:close()
  end)

  it("needs no token, and calls no token function", function()
    local client = assert(crux.new{ base_url = server.base_url, token = function() error("called") end })
    local shown = assert(client:dry_run("cancel_order", { order_uuid = U }))
    assert.equal("Token [redacted]", shown.headers.Authorization)
    assert.is_truthy(client:dry_run("cancel_order", { order_uuid = U, token = function() error("called") end }))
    client:close()
    assert.equal(crux.SANDBOX .. "/orders/cancel/\nToken [redacted]", helper.child[[
      local shown = require "crux".new():dry_run("cancel_order",
        { order_uuid = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29" })
      print(shown.url) print(shown.headers.Authorization)]])
  end)

  it("sends nothing, and calls no on_event", function()
    local quiet = fault.serve{}
    local client = assert(crux.new{ base_url = quiet.base_url, token = helper.TOKEN,
      on_event = function() error("called") end })
    assert.is_truthy(client:dry_run("cancel_order", { order_uuid = U }))
    assert.is_truthy(client:dry_run("get_order", { order_uuid = U }))
    assert.equal(0, quiet:record().connections)
    client:close()
    quiet:close()
  end)

  it("shows no password of a proxy", function()
    local client = assert(crux.new{ proxy = "http://u:pa55word-of-proxy@h:1", token = helper.TOKEN })
    helper.clean(client:dry_run("cancel_order", { order_uuid = U }), "pa55word-of-proxy")
    helper.clean(tostring(client), "pa55word-of-proxy")
    client:close()
  end)
end)
