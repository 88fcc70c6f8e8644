-- crux.resty makes the same calls as crux: same bytes on the wire, same result or error, same
-- events. They are compared with those of the Lua that runs the specs.
local cjson = require("cjson").new()
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local resty = require "spec.support.resty"

local quote = resty.quote
local missing = resty.missing()

after_each(resty.stop_failed)
teardown(fault.stop)

-- Requests as heads and decoded bodies: the order of fields in JSON depends on the Lua that encodes
-- it.
local function apart(requests)
  local list = {}
  for i, request in ipairs(requests) do
    local head, body = request:match("^(.-\r\n\r\n)(.*)$")
    list[i] = { head, #body > 0 and cjson.decode(body) or nil }
  end
  return list
end

local OK = helper.response(200, '{"a":[1,2.5,"x"]}', { "X-One: 1", "X-One: 2" })
local DEEP = '{"n":null,"list":[],"deep":[{"a":[true,-1.5e-3]}],"u":"\\u00e9","":1}'
local SKU = {
  supplier_uuid = helper.SUPPLIER, sku_id = "000106", quantity = 3, price = 19.99, expected_sku_cost = "5",
}

-- `said`: the server's responses in order; `script`: what the server does instead; `with`: further arguments.
local CASES = {
  { "204", said = { helper.response(204) } },
  { "a body", said = { OK } },
  { "a body with all that JSON has", said = { helper.response(201, DEEP) } },
  { "a body that is not JSON", said = { helper.response(200, "<p>") } },
  { "a body that is no text", said = { helper.response(200, '"\255\254"') } },
  { "a body over max_body", said = { OK }, with = { max_body = 9 } },
  { "a rejection over max_body", said = { helper.response(422, '{"detail":"gone"}') }, with = { max_body = 9 } },
  { "a body in chunks", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    conn:write("4\r\n[1,2\r\n2\r\n,3\r\n1\r\n]\r\n0\r\n\r\n") conn:fin()]] },
  { "half a body", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,") conn:fin()]] },
  { "half a rejection", script = [[conn:request() conn:write("HTTP/1.1 400 X\r\nContent-Length: 9\r\n\r\n[1,") conn:fin()]] },
  { "half a head", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-") conn:fin()]] },
  { "a head that never ends", script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\n" .. ("X-More: x\r\n"):rep(8000)) conn:hold()]] },
  { "no HTTP", said = { "nonsense\r\n\r\n" } },
  { "no answer", script = "conn:request() conn:fin()" },
  { "a hint before the answer", said = { "HTTP/1.1 103 Early Hints\r\nX-One: 0\r\n\r\n" .. OK } },
  { "a 400 with fields", said = { helper.response(400, '{"skus":[{"supplier_uuid":["no"]}],"non_field_errors":["none"]}') } },
  { "a 401", said = { helper.response(401, '{"detail":"Invalid token."}') } },
  { "a 404 of a page", said = { helper.response(404, "<h1>gone</h1>", { "Content-Type: text/html" }) } },
  { "a 422", said = { helper.response(422, '{"detail":"gone"}') } },
  { "a 500", said = { helper.response(500) } },
  { "a 301", said = { helper.response(301, "", { "Location: /orders/" }) } },
  { "a 302", said = { helper.response(302, "", { "Location: /" }) } },
  { "a 308 to elsewhere", said = { helper.response(308, "", { "Location: https://elsewhere.invalid/" }) } },
  { "a 429 and then a 200", said = { helper.response(429, "", { "Retry-After: 0" }), OK } },
  { "a 429 and then a 422", said = { helper.response(429, "", { "Retry-After: 0" }), helper.response(422) } },
  { "a 429 and no retry", said = { helper.response(429, "", { "Retry-After: 0" }) }, with = { retries = 0 } },
  { "a 429 for too long", said = { helper.response(429, "{}", { "Retry-After: 60" }) } },
  { "an order looked at", name = "get_order", said = { OK } },
  { "an order looked at twice", name = "get_order", said = { helper.response(503), OK } },
  { "SKUs with all there is", said = { OK }, with = { skus = { SKU, { supplier_uuid = helper.SUPPLIER }, SKU } } },
  { "no SKUs", said = { OK }, without = "skus" },
  { "the later api", said = { OK }, with = { api = "timp" } },
  { "the later api, looked at", name = "get_order", said = { OK }, with = { api = "timp" } },
  { "a prefix", said = { OK }, under = "/be/hind" },
  { "a user agent", said = { OK }, with = { user_agent = "shop/1.2" } },
  { "TLS", tls = "good", said = { OK } },
  { "TLS with nobody to be trusted", tls = "self_signed", said = { OK }, with = { retries = 0 } },
  { "TLS of another", tls = "wrong_name", said = { OK }, with = { retries = 0 } },
  { "a misspelt field", with = { oder_uuid = "x" } },
  { "a malformed UUID", with = { order_uuid = "x" } },
  { "a SKU without a supplier", with = { skus = { SKU, {} } } },
  { "a list that is none", with = { skus = { SKU, nil, SKU, more = 1 } } },
  { "an option out of range", with = { timeout = -1 } },
  { "a token that cannot stand in a header", with = { token = "not a token" } },
  { "no token", with = { token = "" } },
  { "a deadline", script = "conn:hold()", with = { timeout = 0.8 } },
  { "a deadline in the middle of a body", with = { timeout = 0.8 },
    script = [[conn:request() conn:write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[1,") conn:hold()]] },
  { "nobody who listens", refused = true, with = { retries = 0 } },
}

-- An answer without its times, the reuse of connections and the length of random pauses.
local function told(answer, text, events)
  local kept = {}
  for name, value in pairs(answer) do kept[name] = value end
  kept.message = kept.message and kept.message:gsub("%d+ ms", "x ms")
  kept.meta = {}
  for name, value in pairs(answer.meta) do
    if name ~= "time" and name ~= "reused" then kept.meta[name] = value end
  end
  for _, event in ipairs(events) do
    event.pause = event.pause and "some"
    event.elapsed = event.elapsed and "some"
    event.reused = event.reused ~= nil
    event.reason = event.reason and event.reason:gsub("%d+ ms", "x ms")
  end
  return { kept, text and text:gsub("%d+ ms", "x ms"), events }
end

describe("crux.resty #stock", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  local server

  for _, mode in ipairs(resty.MODES) do
    it("sends and returns the same as crux, wakeup by " .. mode, function()
      server = resty.start{ mode = mode }
      for _, case in ipairs(CASES) do
        local what, name = case[1], case.name or "cancel_order"
        local there = case.refused and fault.refused() or fault.serve{ script = case.script or helper.ANSWER, tls = case.tls }
        local arguments = helper.arguments(there, case.with)
        if name == "get_order" then arguments.skus = nil end
        if case.without then arguments[case.without] = nil end
        if case.under then arguments.base_url = arguments.base_url .. case.under end
        if case.tls then arguments.ca_file = fault.ca_file end

        local function again()
          if not case.refused then there:set{ answers = case.said, count = 0 } end
        end
        local function seen() return case.refused and {} or helper.new_requests(there) end

        again()
        local source = quote(arguments)
        local events
        arguments.on_event, events = helper.events()
        local result, err = helper.call(crux[name], arguments)
        local sent = seen()
        again()
        local light = server:run(([[
          local arguments, events = %s, {}
          arguments.on_event = function(event) events[#events + 1] = event end
          local result, err = crux.%s(arguments)
          return { result = result, err = err, text = err and tostring(err), events = events }
        ]]):format(source, name))
        local sent_of_light = seen()

        assert.same(told(result or err, err and tostring(err), events),
          told(light.result or light.err, light.text, light.events), what)
        assert.same(apart(sent), apart(sent_of_light), what)
        assert.equal((result or err).meta.sends, #sent_of_light, what)
        there:close()
      end
      assert.equal(mode, server:run('return { require("crux.resty.wakeup").in_use() }')[1])
      resty.stop()
    end)
  end
end)

describe("examples/openresty #tree", function()
  if missing then return it("needs nginx", function() pending(missing) end) end

  it("responds by outcome", function()
    local pipe = assert(io.popen("lua5.4 examples/openresty/demo.lua 2>&1 </dev/null; echo ended $?"))
    local text = pipe:read("*a")
    pipe:close()
    assert.is_truthy(text:find("\nall as promised\nended 0\n$"), text)
    for _, line in ipairs{
      "not carried out: try again later",
      "not known whether it was carried out: read the order before you retry",
      'crux_calls_total{outcome="accepted",kind="",status="204"} 1',
    } do
      assert.is_truthy(text:find(line, 1, true), line)
    end
  end)
end)
