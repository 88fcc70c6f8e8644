-- Errors from responses: message, detail, fields and hint for any body and any headers. The outcome
-- depends on the status alone.
local cjson = require "cjson"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local patient = require "spec.support.patient"

local math_type = rawget(math, "type")
local server, once

setup(function()
  server = fault.serve{ script = helper.ANSWER }
  once = fault.serve{ script = "conn:request() conn:write(shared.answer) conn:fin()" }
end)

teardown(function()
  server:close()
  once:close()
  patient.stop()
end)

-- Makes a call that gets this response: result | nil, err.
local function answered(status, body, headers, more, name)
  server:set{ answer = helper.response(status, body, headers) }
  return helper.call(core[name or "cancel_order"], helper.arguments(server, more))
end

-- The same, and returns the error.
local function err_of(...)
  local result, err = answered(...)
  assert.is_nil(result)
  return err
end

describe("err.fields and err.detail of the body", function()
  for _, row in ipairs{
    { '{"detail": "Invalid token."}', "Invalid token.", nil, "Invalid token." },
    { '  {"detail":"d"}\n', "d", nil, "d" },
    { '"a bare string"', "a bare string", nil, "a bare string" },
    { '{"order_uuid": ["Must be a valid UUID."]}', nil, { order_uuid = { "Must be a valid UUID." } },
      "order_uuid: Must be a valid UUID." },
    { '{"order_uuid": ["one", "two", "three", "four", "five"]}', nil, { order_uuid = { "one", "two", "three", "four",
      "five" } }, "order_uuid: one" },
    { '{"order_uuid": "no list"}', nil, { order_uuid = { "no list" } }, "order_uuid: no list" },
    { '{"quantity": [5, 5.5]}', nil, { quantity = { "5", "5.5" } }, "quantity: 5" },
    { '{"quantity": 7}', nil, { quantity = { "7" } }, "quantity: 7" },
    { '{"skus": ["This field is required."]}', nil, { skus = { "This field is required." } },
      "skus: This field is required." },
    { '{"skus": [{}, {"supplier_uuid": ["a", "b"], "quantity": ["c"]}, {}, {"price": "d"}]}', nil,
      { ["skus[2].supplier_uuid"] = { "a", "b" }, ["skus[2].quantity"] = { "c" }, ["skus[4].price"] = { "d" } },
        "skus[2].quantity: c" },
    { '{"non_field_errors": ["a", "b"]}', nil, { [""] = { "a", "b" } }, "a" },
    { '{"non_field_errors": "a"}', nil, { [""] = { "a" } }, "a" },
    { '{"skus": {"non_field_errors": ["a"]}}', nil, { skus = { "a" } }, "skus: a" },
    { '{"skus": [{"non_field_errors": ["a"]}, {"price": {"non_field_errors": ["b"]}}]}', nil, { ["skus[1]"] = { "a" },
      ["skus[2].price"] = { "b" } },
      "skus[1]: a" },
    { '{"skus": {"0": ["a"], "10": {"price": ["b"]}}}', nil, { ["skus[1]"] = { "a" }, ["skus[11].price"] = { "b" } },
      "skus[11].price: b" },
    { '{"0": ["a"], "b": {"-1": ["c"], "1.5": ["d"]}}', nil, { ["0"] = { "a" }, ["b.-1"] = { "c" }, ["b.1.5"] = { "d" } },
      "0: a" },
    { '{"a": {"b": {"c": ["x"]}}}', nil, { ["a.b.c"] = { "x" } }, "a.b.c: x" },
    { '{"detail": "d", "code": "c", "order_uuid": ["o"]}', "d", { code = { "c" }, order_uuid = { "o" } }, "d" },
    { '{"detail": ["a", "b"]}', "a", { detail = { "a", "b" } }, "a" },
    { '{"skus": [{"detail": "d"}]}', nil, { ["skus[1].detail"] = { "d" } }, "skus[1].detail: d" },
    { '["a", "b"]', "a", { [""] = { "a", "b" } }, "a" },
    { '[{}, {"a": ["x"]}]', nil, { ["[2].a"] = { "x" } }, "[2].a: x" },
    { '{"z": ["last"], "b": ["first"], "skus": ["mid"]}', nil, { z = { "last" }, b = { "first" }, skus = { "mid" } },
      "b: first" },
    { '{"a": [null, "x"], "b": null, "c": true, "d": []}', nil, { a = { "x" } }, "a: x" },
    { "{}" }, { "[]" }, { "null" }, { "true" }, { "false" }, { "5" }, { '{"skus": [{}, {}]}' }, { '{"a": null}' },
    { '{"detail": null}' }, { '{"detail": ""}', "" },
  } do
    it((row[1]:gsub("\n", "\\n")), function()
      for _, status in ipairs{ 400, 500 } do
        local err = err_of(status, row[1])
        assert.equal(status == 400 and "rejected" or "unknown", err.outcome)
        assert.equal("http", err.kind)
        assert.equal(row[2], err.detail)
        assert.same(row[3], err.fields)
        assert.equal(("HTTP %s%s"):format(status == 400 and "400 Bad Request" or "500 Internal Server Error",
          row[4] and ": " .. row[4] or ""),
          err.message)
        assert.equal(row[1], err.raw)
        assert.is_nil(err.meta.body_error)
        assert.is_nil(err.field)
      end
    end)
  end
end)

describe("the status", function()
  for _, row in ipairs{
    { 301, "Moved Permanently", "redirects are not followed" }, { 307, "Temporary Redirect",
      "redirects are not followed" },
    { 308, "Permanent Redirect", "redirects are not followed" }, { 400, "Bad Request", "missing" },
    { 401, "Unauthorized", "two hours" },
    { 403, "Permission Denied", "permission" }, { 404, "Not Found", "base_url" }, { 405, "Method Not Allowed",
      "base_url" },
    { 409, "Critical", "retailers" }, { 415, "Unsupported Media Type", "application/json" },
    { 422, "Unprocessable Entity", "get_order" },
    { 429, "Too Many Requests", "wait" }, { 500, "Internal Server Error", "get_order" }, { 502, "Bad Gateway",
      "get_order" },
    { 503, "Service Unavailable", "get_order" }, { 504, "Gateway Timeout", "get_order" },
  } do
    it(row[1] .. " has its name in the message, and a hint", function()
      local err = err_of(row[1], "")
      assert.equal(("HTTP %d %s"):format(row[1], row[2]), err.message)
      assert.is_truthy(err.hint:find(row[3], 1, true), err.hint)
      assert.equal(row[1], err.status)
      assert.equal(row[1] >= 500 and "unknown" or "rejected", err.outcome)
      assert.equal(row[1] == 401 and "auth" or "http", err.kind)
      assert.is_false(err.retryable)
      assert.is_nil(err.body)
      assert.equal("", err.raw)
      assert.is_nil(err.meta.body_error)
      assert.equal(("%s (%s): HTTP %d %s"):format(err.outcome, err.kind, row[1], row[2]), tostring(err))
    end)
  end

  it("without a documented name is the number alone in the message", function()
    for status, outcome in pairs{ [300] = "unknown", [302] = "unknown", [303] = "unknown", [304] = "unknown",
      [402] = "rejected", [418] = "rejected",
      [499] = "rejected", [501] = "unknown", [599] = "unknown" } do
      local err = err_of(status)
      assert.same({ outcome, "http", status, "HTTP " .. status }, { err.outcome, err.kind, err.status, err.message })
    end
  end)

  it("200, 201, 202, 204 and 299 are accepted, with or without a body", function()
    for _, status in ipairs{ 200, 201, 202, 204, 206, 299 } do
      local result = answered(status)
      assert.same({ status, "accepted", "" }, { result.status, result.outcome, result.raw })
      assert.is_nil(result.body)
      if status ~= 204 then assert.same({ a = 1 }, answered(status, '{"a":1}').body) end
    end
  end)

  it("5xx is retryable for get_order only", function()
    for _, status in ipairs{ 302, 500, 503 } do
      assert.is_false(err_of(status, "").retryable)
      server:set{ answer = helper.response(status) }
      local _, err = helper.call(core.get_order, { token = helper.TOKEN, base_url = server.base_url,
        order_uuid = helper.ORDER })
      assert.same({ "unknown", true }, { err.outcome, err.retryable })
      assert.is_nil(err.hint and err.hint:find("get_order", 1, true))
    end
  end)
end)

describe("Retry-After", function()
  local DATE = "Date: Sun, 06 Nov 1994 08:49:37 GMT"
  local function after(status, ...)
    local lines = {}
    for _, line in ipairs{ ... } do lines[#lines + 1] = line end
    return err_of(status, "", lines)
  end

  it("in seconds makes 429 retryable after that time", function()
    for text, seconds in pairs{ ["0"] = 0, ["7"] = 7, ["120"] = 120, ["  30  "] = 30 } do
      local err = after(429, "Retry-After: " .. text)
      assert.equal(seconds, err.retry_after)
      assert.is_true(err.retryable)
    end
  end)

  it("as a date counts from the response's Date, or from the local clock", function()
    local err = after(429, DATE, "Retry-After: Sun, 06 Nov 1994 08:50:37 GMT")
    assert.same({ 60, true }, { err.retry_after, err.retryable })
    err = after(429, DATE, "Retry-After: Sun, 06 Nov 1994 08:49:00 GMT")
    assert.same({ 0, true }, { err.retry_after, err.retryable })
    local wanted = os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + 100)
    err = after(429, "Retry-After: " .. wanted)
    assert.is_true(err.retry_after > 95 and err.retry_after <= 100)
  end)

  it("that is malformed is ignored", function()
    for _, text in ipairs{ "", "soon", "-5", "1.5", "5 s" } do
      local err = after(429, "Retry-After: " .. text)
      assert.is_nil(err.retry_after, text)
      assert.is_false(err.retryable)
    end
    local err = after(429)
    assert.is_nil(err.retry_after)
  end)

  it("of other statuses is in err, and makes none of them retryable", function()
    for _, status in ipairs{ 400, 422, 500, 503 } do
      local err = after(status, "Retry-After: 9")
      assert.same({ 9, false }, { err.retry_after, err.retryable })
    end
  end)
end)

describe("the error page of an intermediary", function()
  it("is not shown in the message", function()
    for _, body in ipairs{
      "<html><head><title>502 Bad Gateway</title></head><body>\r\n<center>nginx</center></body></html>",
      "<!DOCTYPE html>", "upstream down", "\0\1\2",
      ("x"):rep(100000),
    } do
      local err = err_of(502, body, { "Content-Type: text/html" })
      assert.equal("HTTP 502 Bad Gateway", err.message)
      assert.equal(body, err.raw)
      assert.is_nil(err.body)
      assert.is_nil(err.detail)
      assert.is_nil(err.fields)
      assert.is_truthy(err.meta.body_error)
    end
  end)
end)

describe("the response body", function()
  local BROKEN = {
    "{", "{}x", "[1,]", "{'a':1}", "nul", "NaN", "[Infinity]", '{"a":1}\0', '{"a":1}\0{"b":2}', "\0",
    '{"detail":"\255"}', '{"detail":"\237\160\128"}',
    '{"detail":"\192\175"}', '"\\ud800"', ("["):rep(5000), ("["):rep(5000) .. ("]"):rep(5000), "\31\139\8\0",
  }

  it("that is not JSON does not change the outcome", function()
    for _, body in ipairs(BROKEN) do
      local result = answered(200, body)
      assert.same({ "accepted", body }, { result.outcome, result.raw })
      assert.is_nil(result.body)
      assert.is_truthy(result.meta.body_error:find("^not JSON: "), result.meta.body_error)
      local err = err_of(422, body)
      assert.same({ "rejected", "http", "HTTP 422 Unprocessable Entity", body },
        { err.outcome, err.kind, err.message, err.raw })
      assert.is_nil(err.detail)
      assert.is_nil(err.fields)
      assert.is_truthy(err.meta.body_error:find("^not JSON: "))
    end
  end)

  it("that is truncated does not change the outcome", function()
    for _, encoding in ipairs{ "Content-Length: 100", "Transfer-Encoding: chunked" } do
      for status, outcome in pairs{ [200] = "accepted", [422] = "rejected", [503] = "unknown" } do
        local part = '{"detail": "abc'
        local body = encoding:find("chunked") and "64\r\n" .. part or part
        once:set{ answer = ("HTTP/1.1 %d X\r\n%s\r\n\r\n%s"):format(status, encoding, body) }
        local result, err = helper.call(core.cancel_order, helper.arguments(once))
        local answer = result or err
        assert.same({ outcome, part }, { answer.outcome, answer.raw })
        assert.equal(err and "http", err and answer.kind)
        assert.is_nil(answer.body)
        assert.is_truthy(answer.meta.body_error:find("^cut off after 15 bytes"), answer.meta.body_error)
      end
    end
  end)

  it("is read up to max_body bytes", function()
    for _, status in ipairs{ 200, 422 } do
      local result, err = answered(status, '{"a":"bcd"}', nil, { max_body = 11 })
      local answer = result or err
      assert.same({ a = "bcd" }, answer.body)
      assert.is_nil(answer.meta.body_error)
      result, err = answered(status, '{"a":"bcd"} ', nil, { max_body = 11 })
      answer = result or err
      assert.equal(status == 200 and "accepted" or "rejected", answer.outcome)
      assert.equal('{"a":"bcd"}', answer.raw)
      assert.is_nil(answer.body)
      assert.equal("longer than max_body, 11 bytes", answer.meta.body_error)
    end
    local result = answered(200, ("x"):rep(3 * 1024 * 1024))
    assert.equal(1024 * 1024, #result.raw)
    assert.equal("longer than max_body, 1048576 bytes", result.meta.body_error)
  end)

  it("without a length ends with the connection", function()
    once:set{ answer = 'HTTP/1.0 200 OK\r\n\r\n{"a":1}' }
    local result = helper.call(core.cancel_order, helper.arguments(once))
    assert.same({ a = 1 }, result.body)
    assert.equal("1.0", result.meta.http_version)
  end)

  it("in chunks is put together", function()
    server:set{
      answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. '3\r\n{"a\r\n4\r\n":1}\r\n0\r\nX-Trailer: t\r\n\r\n',
    }
    local result = helper.call(core.cancel_order, helper.arguments(server))
    assert.same({ a = 1 }, result.body)
    assert.equal('{"a":1}', result.raw)
    assert.is_nil(result.headers["x-trailer"])
  end)

  it("is decoded with integers and crux.null", function()
    local body = answered(200,
      '{"a":1,"b":-5,"c":1.5,"d":[0,2.0,2e3,0.25,[7]],"e":null,"f":9007199254740991,"g":1e300,"h":"8"}').body
    assert.same({ 1, -5, 1.5, 9007199254740991, 1e300, "8" }, { body.a, body.b, body.c, body.f, body.g, body.h })
    assert.same({ 0, 2, 2000, 0.25, { 7 } }, body.d)
    assert.is_true(body.e == crux.null)
    assert.is_true(crux.null == core.null and crux.null == cjson.null)
    if math_type then
      assert.same({ "integer", "integer", "float", "integer", "float" },
        { math_type(body.a), math_type(body.b), math_type(body.c), math_type(body.f), math_type(body.g) })
      assert.same({ "integer", "integer", "integer", "float", "integer" },
        { math_type(body.d[1]), math_type(body.d[2]), math_type(body.d[3]), math_type(body.d[4]),
          math_type(body.d[5][1]) })
      assert.equal("5", tostring(answered(200, "5").body))
    end
  end)

  it("has integers up to 2^53, also after strings with escapes, and floats beyond", function()
    for text, kind in pairs{
      ['{"1\\"":"2\\\\","n":9007199254740992}'] = "integer", ['{"n":-9007199254740992}'] = "integer",
      ['{"n":9007199254740994}'] = "float", ['{"n":-9007199254740994}'] = "float",
      ['{"n":9223372036854775808}'] = "float", ['{"a":"\\\\\\"","n":0}'] = "integer",
      ['["\\"", {"n":-1}]'] = "integer", ['["", "\\\\", {"a":"","n":2e2}]'] = "integer",
    } do
      local body = answered(200, text).body
      local number = (body[#body] or body).n
      assert.equal("number", type(number), text)
      if math_type then assert.equal(kind, math_type(number), text) end
    end
    local strings = answered(200, '{"a":"1","b":["\\"2\\"","\\\\"],"c":true}').body
    assert.same({ "1", '"2"', "\\", true }, { strings.a, strings.b[1], strings.b[2], strings.c })
  end)

  it("can be any JSON value", function()
    for text, value in pairs{ ["5"] = 5, ["true"] = true, ["false"] = false, ['"x"'] = "x", ["null"] = crux.null } do
      local result = answered(200, text)
      assert.is_true(result.body == value, text)
      assert.is_nil(result.meta.body_error)
    end
    assert.equal("a\0b", answered(200, '"a\\u0000b"').body)
    assert.equal("\240\159\152\128", answered(200, '"\\ud83d\\ude00"').body)
  end)
end)

describe("result.headers", function()
  it("has lower-case names, and joins repeated fields with commas", function()
    local result = answered(200, "", { "X-One: a", "x-ONE:b", "X-Two:   spaced out \t", "X-Empty:",
      "Set-Cookie: c=1; Path=/", "set-cookie: d=2", "X-One: c",
      "X-" .. ("Long"):rep(50) .. ": yes" })
    assert.same({
      ["x-one"] = "a, b, c", ["x-two"] = "spaced out", ["x-empty"] = "", ["set-cookie"] = "c=1; Path=/, d=2",
        ["content-length"] = "0",
      ["x-" .. ("long"):rep(50)] = "yes",
    }, result.headers)
  end)

  it("joins folded lines", function()
    local result = answered(200, "", { "X-One: a\r\n b  c \r\n\t d", "X-Two:\r\n e", "X-One: f" })
    assert.same({ "a b  c d, f", "e" }, { result.headers["x-one"], result.headers["x-two"] })
  end)

  it("has no fields of interim responses", function()
    server:set{ answer = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\nX-A: b\r\n\r\n"
      .. helper.response(204, nil, { "X-B: c" }) }
    local result = helper.call(core.cancel_order, helper.arguments(server))
    assert.same({ ["x-b"] = "c" }, result.headers)
  end)
end)

describe("err.message", function()
  it("does not contain a token that the server sent back", function()
    local T = helper.TOKEN
    for _, body in ipairs{
      { detail = "no such token " .. T .. ", " .. T }, { detail = T }, { detail = ("x"):rep(200) .. T },
        { detail = ("x"):rep(239 - #T) .. T .. T },
      { detail = ("\n"):rep(230) .. T }, { [T] = { "x" } }, { order_uuid = { T } }, { skus = { { [T] = { T } } } },
        { non_field_errors = { T } },
      { T }, T,
    } do
      for _, status in ipairs{ 401, 400, 500 } do
        local err = err_of(status, cjson.encode(body), { "X-Echo: " .. T })
        assert.equal(T, err.headers["x-echo"])
        if type(body) == "table" and body.detail then assert.equal(body.detail, err.detail) end
      end
    end
    assert.equal("HTTP 401 Unauthorized: no [redacted] here", err_of(401, '{"detail":"no ' .. T .. ' here"}').message)
  end)

  it("is not redacted inside words by a short token", function()
    local more = { token = "e" }
    assert.equal("HTTP 401 Unauthorized: [redacted]xpir[redacted]d", err_of(401, '{"detail":"expired"}', nil, more).message)
    assert.equal("HTTP 422 Unprocessable Entity", err_of(422, "", nil, more).message)
  end)

  it("does not contain the start of a token that was cut off", function()
    for length = 180, 240 do
      local err = err_of(401, cjson.encode{ detail = ("x"):rep(length) .. helper.TOKEN })
      assert.is_nil(err.message:find(helper.TOKEN:sub(1, 12), 1, true))
    end
  end)

  it("does not contain the token of a token function or of one call", function()
    server:set{ answer = helper.response(403, '{"detail":"not you, token-of-a-function, nor token-of-a-call"}') }
    local client = assert(crux.new{ base_url = server.base_url, token = function() return "token-of-a-function" end })
    local _, err = helper.call(client.cancel_order, client, { order_uuid = helper.ORDER })
    helper.clean(err, "token-of-a-function")
    _, err = helper.call(client.cancel_order, client, { order_uuid = helper.ORDER, token = "token-of-a-call" })
    helper.clean(err, "token-of-a-call")
    client:close()
  end)

  it("is one line of bounded length, whatever the detail", function()
    for _, detail in ipairs{
      "one\ntwo\r\nthree\ttab", "\27[31mred\27[0m\7", "\127", ("long "):rep(1000), ("\195\169"):rep(500),
      ("\226\130\172"):rep(500), ("\240\159\152\128"):rep(300),
      "a\0b", "x" .. ("\195\169"):rep(500), "%s %d %n %", "xx" .. ("\226\130\172"):rep(500),
    } do
      local err = err_of(422, cjson.encode{ detail = detail })
      assert.equal(detail, err.detail)
      assert.is_true(#err.message <= 240)
      assert.is_truthy(err.message:find("^HTTP 422 Unprocessable Entity: "))
      local fields = err_of(422, cjson.encode{ order_uuid = { detail } })
      assert.is_true(#fields.message <= 240)
      assert.equal(detail, fields.fields.order_uuid[1])
    end
    assert.equal("HTTP 422 Unprocessable Entity: one two", err_of(422, '{"detail":"one\\ntwo"}').message)
    assert.equal("HTTP 422 Unprocessable Entity: e\204\129 \226\128\141 \240\159\152\128",
      err_of(422, '{"detail":"e\204\129 \226\128\141 \240\159\152\128"}').message)
    assert.is_truthy(err_of(422, cjson.encode{ detail = ("long "):rep(100) }).message:find("%.%.%.$"))
  end)

  it("has no control characters, invisible characters or line ends", function()
    local SHOWN = "\239\191\189"
    for text, shown in pairs{
      ["\\u0085"] = " ", ["\\u2028"] = " ", ["\\u2029"] = " ", ["\\u001b"] = " ", ["\\u007f"] = " ", ["\\u0000"] = " ",
      ["\\u0080"] = SHOWN, ["\\u009b"] = SHOWN, ["\\u009f"] = SHOWN, ["\\u200e"] = SHOWN, ["\\u200f"] = SHOWN,
      ["\\u202a"] = SHOWN, ["\\u202e"] = SHOWN, ["\\u2066"] = SHOWN, ["\\u2069"] = SHOWN, ["\\u061c"] = SHOWN,
      ["\\ufeff"] = SHOWN, ["\\u200b"] = SHOWN, ["\\u00ad"] = SHOWN, ["\\ufff9"] = SHOWN, ["\\uffff"] = SHOWN,
      ["\\udb40\\udc41"] = SHOWN, ["\\u00a0"] = "\194\160", ["\\u00e9"] = "\195\169", ["\\u2026"] = "\226\128\166",
    } do
      local err = err_of(422, '{"detail":"begin ' .. text .. ' end"}')
      assert.equal("HTTP 422 Unprocessable Entity: begin " .. shown .. " end", err.message, text)
      assert.equal("rejected (http): " .. err.message, tostring(err))
    end
  end)

  it("for a wrong option is one line of printable text", function()
    local _, err = helper.call(core.cancel_order, helper.arguments(server, { ca_file = "/no\nsuch\255\226\128\174file" }))
    assert.is_truthy(err.message:find("'/no such\239\191\189\239\191\189file'", 1, true), err.message)
  end)

  it("is well formed for any field name", function()
    for _, name in ipairs{ "", " ", "a\nb", "\195\169", ("n"):rep(1000), "a\0b", "[1]", "." } do
      local err = err_of(400, cjson.encode{ [name] = { "x" } })
      assert.is_truthy(err.fields)
      assert.is_true(#err.message <= 240)
    end
  end)
end)

describe("a reused connection that breaks after the request", function()
  local KINDS = { fin = "network", cut = "network", rst = "network", hold = "timeout", garbage = "protocol" }
  for how, kind in pairs(KINDS) do
    for tls, identity in pairs{ TCP = false, TLS = "good" } do
      local name = "by %s over %s is kind %s, and its message does not say \"no connection\""
      it(name:format(how, tls, kind), function()
        local kept = fault.serve{ tls = identity or nil, shared = { how = how }, script = [[
          if not conn:request() then return end
          conn:write("HTTP/1.1 204 No Content\r\n\r\n")
          if not conn:request() then return end
          if shared.how == "garbage" then conn:write("SSH-2.0-OpenSSH\r\n") conn:fin() else conn[shared.how](conn) end]] }
        local timeout = how == "hold" and 1.5 or 10
        local arguments = helper.arguments(kept, { ca_file = fault.ca_file, timeout = timeout })
        assert.equal("accepted", helper.call(core.cancel_order, arguments).outcome)
        local _, err = helper.call(core.cancel_order, arguments)
        kept:close()
        assert.same({ "unknown", kind, true }, { err.outcome, err.kind, err.meta.reused })
        for _, text in ipairs{ "no connection", "no TLS connection", "not connect", "resolve" } do
          assert.is_nil(err.message:find(text, 1, true), err.message)
        end
      end)
    end
  end
end)

describe("a deadline that passes once the connection is established", function()
  for _, way in ipairs{ "blocking", "submitted" } do
    it("and before the request is sent, " .. way .. ": the message says that nothing was sent", function()
      local printed = patient.run("connect", way, [[
        local server = fault.serve{ script = "conn:request()" }
        print((call(server, { timeout = 0.3, retries = 0 }).message:gsub("%d+", "N")))
        seen(server)]])
      assert.equal("not_sent timeout 1 0\nno request sent to N.N.N.N:N within N ms\n1 none\n", printed)
    end)
  end
end)

describe("err", function()
  it("is a table with a tostring, even after changes", function()
    local err = err_of(422, '{"detail":"no"}')
    assert.equal("rejected (http): HTTP 422 Unprocessable Entity: no", tostring(err))
    err.message = nil
    assert.equal("string", type(tostring(err)))
    err.message, err.outcome, err.kind = {}, 5, nil
    assert.equal("string", type(tostring(err)))
    setmetatable(err, nil)
  end)
end)
