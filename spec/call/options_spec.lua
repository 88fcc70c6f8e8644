-- Options of a client: which values each takes, with which message another is refused, and which
-- names there are.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U = helper.ORDER
local HUGE = math.huge
local PASSWORD = "proxy-pa55word"
helper.watch(PASSWORD)

local server

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
end)

teardown(function()
  server:close()
  fault.stop()
end)

local function found(value, is_shown)
  local kind = type(value)
  if not is_shown and kind ~= "string" then return "a " .. kind end
  if kind == "number" then return ("%.14g"):format(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "string" then return "a " .. kind end
  if is_shown and #value <= 16 and not value:find("[^ -~]") then return "'" .. value .. "'" end
  return ("a string of %d bytes"):format(#value)
end

local SECONDS = { 0, -1, -0.0, HUGE, -HUGE, "5", "", true, {} }
local PROXY_URLS = {
  "http://127.0.0.1:3128", "https://proxy.example", "socks4://h", "socks4a://h", "socks5://h:1080", "socks5h://h",
  "proxy.example:3128", "localhost",
  "http://user:" .. PASSWORD .. "@h:8080", "http://user:p%40ss@h", "http://[::1]:3128/", "",
}

-- Header tables that are refused, and the message.
local NO_NAME = "headers: expected a header name, found "
local HEADERS = {
  { { "X: y" }, NO_NAME .. "a number" }, { { [true] = "x" }, NO_NAME .. "a boolean" },
}
local function told_of(value)
  return type(value) == "string" and ("a string of %d bytes"):format(#value) or "a " .. type(value)
end
for _, name in ipairs{ "", "X Y", "X:", "X\0", "caf\195\169" } do
  HEADERS[#HEADERS + 1] = { { [name] = "x" }, NO_NAME .. told_of(name) }
end
for _, value in ipairs{ 5, {}, true, "a\r", "a\nY: z", "a\0b" } do
  local long = ("x"):rep(64)
  for name, place in pairs{ ["X-Id"] = ".X-Id", [long] = "." .. long, [long .. "x"] = "" } do
    local message = "headers%s: expected a string without CR, LF and NUL, found %s"
    HEADERS[#HEADERS + 1] = { { [name] = value }, message:format(place, told_of(value)) }
  end
end
for _, name in ipairs{
  "host", "AUTHORIZATION", "Content-Type", "content-length", "Accept", "User-Agent", "Connection",
  "Expect", "Transfer-Encoding", "te", "Upgrade",
} do
  HEADERS[#HEADERS + 1] = { { [name] = "x" },
    ("headers: expected an unreserved header name, found '%s'"):format(name) }
end
local HALF = ("x"):rep(4096)
for _, headers in ipairs{ { a = ("x"):rep(8192 - 4) }, { a = HALF, b = HALF } } do
  HEADERS[#HEADERS + 1] = { headers, "headers: expected at most 8192 bytes of lines, found more" }
end
local WORDED = {}
for i, row in ipairs(HEADERS) do HEADERS[i], WORDED[row[1]] = row[1], row[2] end
for _, value in ipairs{ "X: y", 5, true } do HEADERS[#HEADERS + 1] = value end

-- Each option: values it accepts, values it refuses, and the message, if it is not the usual one.
-- `quiet`: the value is never shown.
local OPTIONS = {
  { name = "token", what = "a string of printable ASCII without spaces, or a function", quiet = true,
    core_what = "a string of printable ASCII without spaces",
    good = { "x", "47d4yfbwymedhiudj384702984nakju4hajh395d", "!~", ("t"):rep(8192), print },
    bad = { "", "a b", "a\n", "a\0b", "\200", ("t"):rep(8193), 5, true, false, {} } },
  { name = "username", what = "a non-empty string of UTF-8", policy = true,
    good = {}, -- not without password
    bad = { "", "a\0b", "\200", 5, true, {} } },
  { name = "password", what = "a non-empty string of UTF-8", policy = true, quiet = true,
    good = {}, -- not without username
    bad = { "", "a\0b", "\200", 5, true, {} } },
  { name = "token_cache", what = "an object with get and set", policy = true,
    good = { { get = print, set = print }, setmetatable({}, { __index = { get = print, set = print } }) },
    bad = { "", 5, true, print } },
  { name = "base_url", what = "an https:// URL with no user, query or fragment", quiet = true,
    good = { crux.SANDBOX, crux.PRODUCTION, "https://h", "http://localhost" },
    -- a URL without its scheme is shown: it is no secret
    told = {
      ["example.com"] = "'example.com': write 'https://example.com'",
      ["api.example.com:8443/pre/"] = "'api.example.com:8443/pre/': write 'https://api.example.com:8443/pre/'",
      ["localhost"] = "'localhost': write 'http://localhost'",
      ["127.0.0.1:8080"] = "'127.0.0.1:8080': write 'http://127.0.0.1:8080'",
    },
    bad = {
      "api.example.com:8443/pre/", "localhost", "127.0.0.1:8080", "47d4yfbwymedhiudj384702984nakju4hajh395d", "user:pass.word",
      "a.b@c.d", "example.com:0", "eyJhbGciOi.J9eyJpc3Mi_.xyz", "example.com?a=b",
      "", "example.com", "//example.com", "https:example.com", "https:/example.com", "https://", "https:///path",
      "ftp://example.com", "file:///etc/passwd", " https://example.com", "https://[::1", "https://[::1%25lo]",
      "https://user@example.com", "https://user:secret@example.com", "https://@example.com",
      "https://example.com?a=b", "https://example.com/?", "https://example.com/#", "https://example.com#there",
      "https://example.com:0", "https://example.com:65536", "https://example.com:x", "https://exa mple.com",
      "https://example.com/a b", "https://example.com/\n", "https://example.com\0", "https://ex\195\169mple.com",
      "https://a\\b", "https://example.com/" .. ("x"):rep(3000), 5, true, {},
    } },
  { name = "api", what = "'v1' or 'timp'",
    good = { "v1", "timp" },
    bad = { "", "V1", "v2", "/timp", "v1\0", 1, true, {} } },
  { name = "timeout", what = "a positive number of seconds, at most 86400",
    good = { 0.001, 1, 3600, 86400 },
    bad = { 0, -1, -0.0, 86400.5, 1e300, HUGE, -HUGE, "5", "", true, {} } },
  { name = "connect_timeout", what = "a positive, finite number of seconds",
    good = { 0.001, 1, 3600, 1e9, 1e300 },
    bad = SECONDS },
  { name = "retries", what = "a whole number from 0 to 10", policy = true,
    good = { 0, 1, 2.0, 10 },
    bad = { -1, 11, 1.5, HUGE, "2", true, {} } },
  { name = "max_connections", what = "a whole number from 1 to 65535",
    good = { 1, 32, 65535 },
    bad = { 0, -1, 1.5, 65536, HUGE, "1", true } },
  { name = "idle_timeout", what = "a finite number of seconds, 0 or more",
    good = { 0, 0.5, 15 },
    bad = { -1, HUGE, "15", true, {} } },
  { name = "connection_lifetime", what = "a positive, finite number of seconds",
    good = { 0.001, 300 },
    bad = SECONDS },
  { name = "ca_file", what = "a readable file", quiet = true,
    good = { "README.md" },
    bad = { "", "a\0b", 5, true, {} } },
  { name = "ca_path", what = "a readable directory", quiet = true,
    good = { "spec" },
    bad = { "", "a\0b", 5, true, {} } },
  { name = "cert_file", what = "a readable file", quiet = true,
    good = { "README.md" },
    bad = { "", "a\0b", 5, true, {} } },
  { name = "key_file", what = "a readable file", quiet = true,
    good = {}, -- not without cert_file
    bad = { "", "a\0b", 5, true, {} } },
  { name = "proxy", what = "a proxy URL, or an empty string for none", quiet = true,
    good = PROXY_URLS,
    bad = { "ftp://h", "http://", "http://u:" .. PASSWORD .. "@h:99999", "http://u:" .. PASSWORD .. "@ h", "a b",
      "h\n", "h\0", "http://\195\169", 5, true, {} } },
  { name = "no_proxy", what = "a string", quiet = true,
    good = { "", "*", "localhost,.example.org" },
    bad = { "a\0b", 5, true, {} } },
  { name = "user_agent", what = "a product token such as 'shop/1.2'", quiet = true,
    good = { "shop", "shop/1.2", "a!#$%&'*+-.^_`|~z/0~" },
    bad = { "", " ", "shop 1", "shop/", "/1", "a/b/c", "shop/1\r\nX: y", "sh\0p", "shop(1)", "caf\195\169",
      ("x"):rep(257), 5, true, {} } },
  { name = "headers", quiet = true,
    what = "a table of unreserved header names and values, at most 8 KiB, or a function",
    core_what = "a table of unreserved header names and values, at most 8 KiB",
    good = { {}, { ["X-Id"] = "" }, { traceparent = "00-0af7-b7ad-01", ["x-!#$%&'*+.^_`|~"] = "\195\169 \t" },
      { a = ("x"):rep(8192 - 5) }, print },
    bad = HEADERS, worded = WORDED },
  { name = "max_body", what = "a whole number from 1 to 67108864",
    good = { 1, 1048576, 67108864.0 },
    bad = { 0, -1, 0.5, HUGE, "1", true } },
  { name = "on_event", what = "a function", policy = true,
    good = { print },
    bad = { "print", 5, true, {} } },
}

describe("an option:", function()
  for _, row in ipairs(OPTIONS) do
    local name = row.name

    it(name .. " is refused out of its range by crux.new and every call", function()
      local client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
      local ways = {
        { row.what, function(value) return crux.new{ [name] = value } end },
        { row.what, function(value) return client:cancel_order{ order_uuid = U, [name] = value } end },
        { row.what, function(value) return client:dry_run("get_order", { order_uuid = U, [name] = value }) end },
        { row.what, function(value)
          return crux.get_order{ token = name ~= "token" and helper.TOKEN or value, order_uuid = U,
            base_url = name ~= "base_url" and server.base_url or value, [name] = value }
        end },
      }
      if not row.policy then
        ways[5] = { row.core_what or row.what, function(value)
          return core.cancel_order(helper.arguments(server, { [name] = value }))
        end }
      end
      for _, value in ipairs(row.bad) do
        for _, way in ipairs(ways) do
          local result, err = way[2](value)
          helper.check(result, err)
          local told = row.told and row.told[value] or found(value, not row.quiet)
          if name == "token" and value == "a\n" then told = told .. " that ends in a newline" end
          local message = ("%s: expected %s, found %s"):format(name, way[1], told)
          if row.worded and row.worded[value] then message = row.worded[value] end
          if not (err and err.kind == "invalid" and err.field == name and err.message == message) then
            assert.same({ "invalid", name, message }, { err and err.kind, err and err.field, err and err.message })
          end
        end
      end
      if type(row.good[1]) == "number" then
        local _, err = helper.call(crux.new, { [name] = 0 / 0 })
        assert.same({ "invalid", name }, { err.kind, err.field })
      end
      client:close()
    end)

    it(name .. " is accepted within its range", function()
      for _, value in ipairs(row.good) do
        local made, err = crux.new{ [name] = value }
        assert.is_nil(err and tostring(err))
        made:close()
      end
    end)
  end

  it("connect_timeout can be practically infinite", function()
    for _, seconds in ipairs{ 1e7, 1e300 } do
      local more = { timeout = 86400, connect_timeout = seconds }
      assert.equal("accepted", helper.call(core.cancel_order, helper.arguments(server, more)).outcome)
    end
  end)

  it("with an unknown name is refused with the nearest name", function()
    for name, near in pairs{ tokn = "token", retrys = "retries", on_events = "on_event", proxi = "proxy",
      useragent = "user_agent" } do
      local _, err = helper.call(crux.new, { [name] = 1 })
      assert.same({ "invalid", name, ("%s: unknown field, did you mean '%s'?"):format(name, near) },
        { err.kind, err.field, err.message })
    end
    local _, err = helper.call(crux.new, { order_uuid = U })
    local all = {}
    for i, option in ipairs(OPTIONS) do all[i] = option.name end
    local list = "unknown field, expected one of " .. table.concat(all, ", ")
    assert.equal("order_uuid: " .. list, err.message)
    _, err = helper.call(crux.new, { zzz = 1, verify = false, timeout = -1 })
    assert.equal("verify", err.field)
    _, err = helper.call(crux.new, { helper.TOKEN })
    assert.equal("[1]: " .. list, err.message)
  end)

  it("with the name of another library is refused with ours", function()
    for name, told in pairs{
      retry = "did you mean 'retries'?", max_retries = "did you mean 'retries'?", maxRetries = "did you mean 'retries'?",
      attempts = "did you mean 'retries', attempts after the first?", url = "did you mean 'base_url'?",
      base = "did you mean 'base_url'?", base_uri = "did you mean 'base_url'?", host = "did you mean 'base_url'?",
      server = "did you mean 'base_url'?", api_key = "did you mean 'token'?", auth = "did you mean 'token'?",
      access_token = "did you mean 'token'?", Authorization = "did you mean 'token', without the word Token?",
      timeout_ms = "did you mean 'timeout', in seconds?", read_timeout = "did you mean 'timeout', for the whole call?",
      cert = "did you mean 'cert_file'?", key = "did you mean 'key_file'?", ca = "did you mean 'ca_file'?",
      cacert = "did you mean 'ca_file'?", ca_bundle = "did you mean 'ca_file'?", proxies = "did you mean 'proxy'?",
      http_proxy = "did you mean 'proxy'?", pool_size = "did you mean 'max_connections'?",
      keepalive_timeout = "did you mean 'idle_timeout', in seconds?", version = "did you mean 'api'?",
      max_size = "did you mean 'max_body'?", logger = "did you mean 'on_event'?", ua = "did you mean 'user_agent'?",
    } do
      local expected = ("%s: unknown field, %s"):format(name, told)
      for _, call in ipairs{ crux.new, crux.get_order } do
        local _, err = helper.call(call, { [name] = false })
        assert.same({ "invalid", name, expected }, { err.kind, err.field, err.message })
      end
      local right = told:match("'(.-)'")
      local _, err = helper.call(crux.new, { [right] = false })
      assert.is_truthy(err.message:find("^" .. right .. ": expected"), err.message)
    end
  end)

  it("to turn off verification or follow redirects does not exist", function()
    for name, why in pairs{
      verify = "certificates", verify_ssl = "certificates", ssl_verify = "certificates", sslVerify = "certificates",
      SSL_VERIFYPEER = "certificates", insecure = "certificates", rejectUnauthorized = "certificates",
      follow_redirects = "redirects", max_redirects = "redirects",
    } do
      local _, err = helper.call(crux.new, { [name] = false })
      assert.same({ "invalid", name }, { err.kind, err.field })
      assert.equal(name .. ": unknown field: " .. (why == "redirects" and "redirects are never followed"
        or "certificates are always verified; ca_file is for trust anchors of one's own"), err.message)
    end
  end)

  it("suggested by crux.core is one of its own", function()
    local _, err = helper.call(core.get_order, { retry = 1 })
    assert.is_truthy(err.message:find("^retry: unknown field, expected one of order_uuid, token, "), err.message)
  end)

  it("with a NUL in its name is refused", function()
    for _, name in ipairs{ "token\0", "retries\0x" } do
      local _, err = helper.call(crux.new, { [name] = 1 })
      assert.equal("invalid", err and err.kind)
    end
  end)

  it("is read raw, and its table is not changed", function()
    local options = setmetatable({ timeout = 5 }, { __index = function() error("asked") end,
      __pairs = function() error("asked") end })
    local client = assert(crux.new(options))
    assert.equal(5, rawget(options, "timeout"))
    assert.is_nil(rawget(options, "token"))
    options.timeout = -1
    assert.is_truthy(client:dry_run("get_order", { order_uuid = U }))
    client:close()
  end)
end)
