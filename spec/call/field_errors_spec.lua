-- err.detail and err.fields from bodies of many shapes, and the time and memory that takes. For
-- bodies of Django REST Framework, see errors_spec.lua and django_spec.lua.
local cjson = require "cjson"
local core = require "crux.core"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local server, once

setup(function()
  server = fault.serve{ script = helper.ANSWER }
  once = fault.serve{ script = "conn:request() conn:write(shared.answer) conn:fin()" }
end)

teardown(fault.stop)

local function err_of(status, body, headers, more)
  server:set{ answer = helper.response(status, body, headers) }
  local result, err = helper.call(core.cancel_order, helper.arguments(server, more))
  assert.is_nil(result)
  return err
end

describe("err.detail and err.fields of", function()
  for _, row in ipairs{
    -- media type, body, detail, fields
    { "application/problem+json", '{"type":"https://x/y","title":"T","status":400,"detail":"D","instance":"/i"}', "D" },
    { "application/problem+json; charset=utf-8", '{"title":"T"}', "T" },
    { nil, '{"type":"about:blank","title":"T","status":400,"balance":30}', "T", { balance = { "30" } } },
    { nil, '{"title":"T","status":400,"errors":{"quantity":["q"]}}', "T", { ["errors.quantity"] = { "q" } } },
    { nil, '{"error":{"message":"m"}}', "m" },
    { nil, '{"error":{"message":"m","code":"c"}}', "m", { ["error.code"] = { "c" } } },
    { nil, '{"errors":[{"detail":"d"}]}', "d" },
    { nil, '{"errors":[{"detail":"d"},{"detail":"e"}]}', "d", { ["errors[2].detail"] = { "e" } } },
    { nil, '{"errors":[{"message":"m"}]}', "m" },
    { nil, '{"errors":[{"title":"t","detail":"d"}]}', "d", { ["errors[1].title"] = { "t" } } },
    { nil, '{"message":"m"}', "m" },
    { nil, '{"message":"m","order_uuid":["o"]}', "m", { order_uuid = { "o" } } },
    { nil, '{"error":"invalid_grant","error_description":"e"}', "e", { error = { "invalid_grant" } } },
    { nil, '{"error":"e"}', "e" },
    { nil, '{"title":"t"}', "t" },
    { nil, '{"detail":"d","message":"m"}', "d", { message = { "m" } } },
    { nil, '["a"]', "a", { [""] = { "a" } } },
    -- names of fields are not messages
    { nil, '{"title":["This field is required."]}', nil, { title = { "This field is required." } } },
    { nil, '{"message":["a"],"status":["b"]}', nil, { message = { "a" }, status = { "b" } } },
    { nil, '{"error":{"message":["m"]},"errors":["e"]}', nil, { ["error.message"] = { "m" }, errors = { "e" } } },
    { nil, '{"message":"","error":{"message":""}}', nil, { message = { "" }, ["error.message"] = { "" } } },
    { "text/plain", "upstream down", "upstream down" },
    { "Text/Plain; charset=utf-8", "no such order\r\n", "no such order" },
    { "text/plain", "down", "down" },
    { nil, "upstream connect error", "upstream connect error" },
    { nil, "down" }, { nil, "{not json, really}" }, { "text/html", "upstream down" }, { "text/plain", "--- ---" },
    { "application/octet-stream", "two words" }, { "text/plain", "bell\7 in it" }, { "text/plain", "\255 in it" },
    { "text/plain", ("word "):rep(52) }, { "text/plain", " \n" },
  } do
    local media_type, body, detail, fields = row[1], row[2], row[3], row[4]
    local shown = #body < 200 and body:gsub("[^ -~]", "?") or "a long text"
    it(("%s%s"):format(media_type and media_type .. ": " or "", shown),
      function()
        local err = err_of(400, body, media_type and { "Content-Type: " .. media_type })
        assert.equal(detail, err.detail)
        assert.same(fields, err.fields)
        local told = detail or fields and err.message:match("^HTTP 400 Bad Request: (.*)")
        assert.equal("HTTP 400 Bad Request" .. (told and ": " .. told or ""), err.message)
        assert.equal("something required is missing or malformed" .. (fields and ": see err.fields" or ""), err.hint)
      end)
  end

  it("a truncated text are nil", function()
    once:set{ answer = "HTTP/1.1 502 X\r\nContent-Type: text/plain\r\nContent-Length: 50\r\n\r\nupstream down" }
    local _, err = helper.call(core.cancel_order, helper.arguments(once))
    assert.equal("HTTP 502 Bad Gateway", err.message)
    assert.is_nil(err.detail)
  end)
end)

describe("a hostile error body #stock", function()
  local function heavy(body)
    collectgarbage()
    collectgarbage()
    collectgarbage("stop")
    local before, clock = collectgarbage("count"), os.clock()
    local err = err_of(400, body, nil, { timeout = 60 })
    local seconds, kilobytes = os.clock() - clock, collectgarbage("count") - before
    collectgarbage("restart")
    return err, seconds, kilobytes
  end

  local function repeated(count, form)
    local items = {}
    for i = 1, count do items[i] = form:format(i) end
    return table.concat(items, ",")
  end

  for name, body in pairs{
    ["one long name over many texts"] = '{"' .. ("A"):rep(100000) .. '":{' .. repeated(9000, '"%x":["x"]') .. "}}",
    ["many names"] = "{" .. repeated(50000, '"name%d":["x"]') .. "}",
    ["many texts of one name"] = '{"a":[' .. repeated(100000, '"%x"') .. "]}",
    ["names below names"] = ('{"' .. ("n"):rep(2000) .. '":'):rep(90) .. '"x"' .. ("}"):rep(90),
    ["a long text"] = '{"detail":"' .. ("e"):rep(900000) .. '"}',
  } do
    it("takes memory and time in proportion to its size: " .. name, function()
      local err, seconds, kilobytes = heavy(body)
      assert.equal("rejected", err.outcome)
      assert.is_true(#err.message <= 240)
      assert.is_true(kilobytes < 40 * #body / 1024 + 10000, ("%.0f KiB for %.0f"):format(kilobytes, #body / 1024))
      assert.is_true(seconds < 2, seconds)
      local texts = 0
      for path, list in pairs(err.fields or {}) do
        texts = texts + #list
        assert.is_true(#path <= 259)
      end
      assert.is_true(texts <= 10000)
    end)
  end

  it("with many copies of a short token gives a message of bounded length", function()
    local err = err_of(400, '{"detail":"' .. ("e"):rep(900000) .. '"}', nil, { token = "e" })
    assert.is_true(#err.message <= 240)
    assert.is_nil(err.message:match("^HTTP 400 Bad Request: (.*)"):find("ee", 1, true))
  end)

  it("has its long names truncated between characters", function()
    local err = err_of(400, cjson.encode{ [("\226\130\172"):rep(100)] = { "x" } })
    assert.same({ [("\226\130\172"):rep(85) .. "..."] = { "x" } }, err.fields)
  end)
end)
