-- Options: what each may be, what it is when left out, who wins, and what the environment says.
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local U = helper.ORDER
local HUGE = math.huge
local PASSWORD = "proxy-pa55word"
helper.watch(PASSWORD)

local server, secure

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  secure = fault.serve{ tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) } }
end)

teardown(function()
  server:close()
  secure:close()
end)

local function found(value, echo)
  local kind = type(value)
  if not echo and kind ~= "string" then return "a " .. kind end
  if kind == "number" then return ("%.14g"):format(value) end
  if kind == "boolean" then return tostring(value) end
  if kind ~= "string" then return "a " .. kind end
  if echo and #value <= 16 and not value:find("[^ -~]") then return "'" .. value .. "'" end
  return ("a string of %d bytes"):format(#value)
end

local SECONDS = { 0, -1, -0.0, HUGE, -HUGE, "5", "", true, {} }
local PROXY_URLS = {
  "http://127.0.0.1:3128", "https://proxy.example", "socks4://h", "socks4a://h", "socks5://h:1080", "socks5h://h",
  "proxy.example:3128", "localhost",
  "http://user:" .. PASSWORD .. "@h:8080", "http://user:p%40ss@h", "http://[::1]:3128/", "",
}

-- Each option: what it takes, what it does not, and how that is put. `quiet`: the value is never echoed.
local OPTIONS = {
  { name = "token", what = "a string of printable ASCII without spaces, or a function", quiet = true,
    core_what = "a string of printable ASCII without spaces",
    good = { "x", "47d4yfbwymedhiudj384702984nakju4hajh395d", "!~", ("t"):rep(8192), print },
    bad = { "", "a b", "a\n", "a\0b", "\200", ("t"):rep(8193), 5, true, false, {} } },
  { name = "base_url", what = "an https:// URL with no user, query or fragment", quiet = true,
    good = { crux.SANDBOX, crux.PRODUCTION, "https://h", "http://localhost" },
    -- only the scheme is missing, and it is no secret
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
  { name = "max_body", what = "a whole number from 1 to 67108864",
    good = { 1, 1048576, 67108864.0 },
    bad = { 0, -1, 0.5, HUGE, "1", true } },
  { name = "on_event", what = "a function", policy = true,
    good = { print },
    bad = { "print", 5, true, {} } },
}

describe("the option", function()
  for _, row in ipairs(OPTIONS) do
    local name = row.name

    it(name .. " is refused out of its range, by new and by every call", function()
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

    it(name .. " is taken within it", function()
      for _, value in ipairs(row.good) do
        local made, err = crux.new{ [name] = value }
        assert.is_nil(err and tostring(err))
        made:close()
      end
    end)
  end

  it("connect_timeout may be as good as none", function()
    for _, seconds in ipairs{ 1e7, 1e300 } do
      local more = { timeout = 86400, connect_timeout = seconds }
      assert.equal("accepted", helper.call(core.cancel_order, helper.arguments(server, more)).outcome)
    end
  end)

  it("that is unknown comes with the nearest name", function()
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

  it("that other libraries know by another name is told by ours", function()
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

  it("that would turn verification off or follow redirects does not exist, and the message says so", function()
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

  it("of crux.core is not suggested where it is none of its", function()
    local _, err = helper.call(core.get_order, { retry = 1 })
    assert.is_truthy(err.message:find("^retry: unknown field, expected one of order_uuid, token, "), err.message)
  end)

  it("is known by its whole name, whatever bytes follow", function()
    for _, name in ipairs{ "token\0", "retries\0x" } do
      local _, err = helper.call(crux.new, { [name] = 1 })
      assert.equal("invalid", err and err.kind)
    end
  end)

  it("is read raw, and its table left as it was", function()
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

describe("base_url", function()
  local function request(base_url, api)
    local client = assert(crux.new())
    local made = assert(client:dry_run("cancel_order", { order_uuid = U, base_url = base_url, api = api }))
    client:close()
    return made.url, made.headers.Host
  end

  it("has an optional path, and a port if it is not the scheme's", function()
    for base_url, expected in pairs{
      ["https://example.com"] = { "https://example.com", "example.com" },
      ["https://example.com/"] = { "https://example.com", "example.com" },
      ["https://example.com///"] = { "https://example.com", "example.com" },
      ["https://example.com/a/b"] = { "https://example.com/a/b", "example.com" },
      ["https://example.com/a/b//"] = { "https://example.com/a/b", "example.com" },
      ["https://example.com/a/../b%20c/"] = { "https://example.com/a/../b%20c", "example.com" },
      ["https://example.com:443"] = { "https://example.com", "example.com" },
      ["https://example.com:8443/x"] = { "https://example.com:8443/x", "example.com:8443" },
      ["https://example.com:80"] = { "https://example.com:80", "example.com:80" },
      ["HTTPS://example.com"] = { "https://example.com", "example.com" },
      ["https://[2001:db8::1]/"] = { "https://[2001:db8::1]", "[2001:db8::1]" },
      ["https://[2001:db8::1]:8443/x/"] = { "https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443" },
      ["https://10.0.0.1"] = { "https://10.0.0.1", "10.0.0.1" },
      ["http://127.0.0.1:8080"] = { "http://127.0.0.1:8080", "127.0.0.1:8080" },
      ["http://127.0.0.1:80"] = { "http://127.0.0.1", "127.0.0.1" },
      ["http://127.255.3.4"] = { "http://127.255.3.4", "127.255.3.4" },
      ["http://[::1]:8080/p"] = { "http://[::1]:8080/p", "[::1]:8080" },
      ["http://localhost"] = { "http://localhost", "localhost" },
      ["HTTP://LOCALHOST:1"] = { "http://LOCALHOST:1", "LOCALHOST:1" },
    } do
      local url, host = request(base_url)
      assert.same({ expected[1] .. "/orders/cancel/", expected[2] }, { url, host }, base_url)
      assert.equal(expected[1] .. "/timp/orders/cancel/", (request(base_url, "timp")))
      assert.equal(expected[1] .. "/orders/cancel/", (request(base_url, "v1")))
    end
  end)

  it("is http to this machine alone", function()
    for _, base_url in ipairs{
      "http://example.com", "http://api.cruxconnect.com", "http://128.0.0.1", "http://10.0.0.1", "http://0.0.0.0",
      "http://[::]", "http://[::2]",
      "http://[::ffff:10.0.0.1]", "http://localhost.example.com", "http://127.0.0.1.example.com",
      "http://notlocalhost", "http://localhost.",
      "http://126.255.255.255", "HTTP://example.com",
    } do
      local _, err = helper.call(crux.new, { base_url = base_url })
      assert.same({ "invalid", "base_url" }, { err and err.kind, err and err.field }, base_url)
      assert.equal("base_url: expected https, found http to another machine, where a token would be readable",
        err.message)
    end
  end)

  it("is the sandbox where nothing else is said", function()
    local printed = helper.child([[
      local crux = require "crux"
      print(crux.new():dry_run("get_order",
        { order_uuid = ("0"):rep(8) .. ("-0000"):rep(3) .. "-" .. ("0"):rep(12) }).url)]])
    assert.equal("https://api-sandbox.cruxconnect.com/orders/00000000-0000-0000-0000-000000000000/", printed)
    assert.equal("https://api-sandbox.cruxconnect.com", crux.SANDBOX)
    assert.equal("https://api.cruxconnect.com", crux.PRODUCTION)
  end)
end)

describe("what a call says wins over its client's:", function()
  it("every option", function()
    local other = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(200, ("x"):rep(100)) } }
    local heard, also = {}, {}
    local client = assert(crux.new{
      token = helper.TOKEN, base_url = server.base_url, user_agent = "first/1", max_body = 50, api = "v1", timeout = 10,
      on_event = function(event) heard[#heard + 1] = event end,
    })
    helper.new_requests(server)
    helper.call(client.cancel_order, client, { order_uuid = U })
    local sent = helper.new_requests(server)[1]
    assert.is_truthy(sent:find("^PATCH /orders/cancel/ HTTP/1%.1\r\n"))
    assert.is_truthy(sent:find("\r\nUser-Agent: first/1 crux/" .. crux._VERSION .. "\r\n", 1, true))
    assert.equal(2, #heard)
    local result = helper.call(client.cancel_order, client, {
      order_uuid = U, token = "another-token", base_url = other.base_url .. "/pre", user_agent = "second",
        max_body = 60, api = "timp",
      on_event = function(event) also[#also + 1] = event end,
    })
    sent = helper.new_requests(other)[1]
    assert.is_truthy(sent:find("^PATCH /pre/timp/orders/cancel/ HTTP/1%.1\r\n"))
    assert.is_truthy(sent:find("\r\nUser-Agent: second crux/", 1, true))
    assert.is_truthy(sent:find("\r\nAuthorization: Token another-token\r\n", 1, true))
    assert.equal(60, #result.raw)
    assert.is_truthy(result.meta.body_error)
    assert.equal(2, #heard)
    assert.equal(2, #also)
    -- and only for that call
    helper.call(client.cancel_order, client, { order_uuid = U })
    assert.is_truthy(helper.new_requests(server)[1]:find("Token " .. helper.TOKEN, 1, true))
    client:close()
    other:close()
  end)

  it("a token that is a string over one that is a function, and the other way", function()
    local client = assert(crux.new{ base_url = server.base_url, token = function() return "from-the-function" end })
    helper.new_requests(server)
    helper.call(client.cancel_order, client, { order_uuid = U })
    helper.call(client.cancel_order, client, { order_uuid = U, token = "from-the-call" })
    client:close()
    client = assert(crux.new{ base_url = server.base_url, token = "from-the-client" })
    helper.call(client.cancel_order, client, { order_uuid = U, token = function() return "from-its-function" end })
    helper.call(client.cancel_order, client, { order_uuid = U })
    client:close()
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do tokens[#tokens + 1] = sent:match("Token (%S+)") end
    table.sort(tokens)
    assert.same({ "from-its-function", "from-the-call", "from-the-client", "from-the-function" }, tokens)
  end)

  it("the time", function()
    local silent = fault.serve{}
    local client = assert(crux.new{ token = helper.TOKEN, base_url = silent.base_url, timeout = 60, retries = 0 })
    local before = core.now()
    local _, err = helper.call(client.cancel_order, client, { order_uuid = U, timeout = 0.2 })
    assert.same({ "unknown", "timeout" }, { err.outcome, err.kind })
    assert.is_true(core.now() - before >= 0.19 and core.now() - before < 3)
    client:close()
    silent:close()
  end)

  it("connect_timeout ends an attempt to connect long before the whole call's", function()
    local never = fault.silent()
    local before = core.now()
    local _, err = helper.call(core.cancel_order, helper.arguments(never, { timeout = 60, connect_timeout = 0.2 }))
    assert.same({ "not_sent", "timeout", true }, { err.outcome, err.kind, err.retryable })
    assert.is_true(core.now() - before >= 0.19 and core.now() - before < 3)
    never:close()
  end)
end)

describe("trust anchors", function()
  -- a sanitizer takes its time over the system's bundle
  local function call(more)
    local arguments = helper.arguments(secure, more)
    arguments.timeout, arguments.connect_timeout = 120, 120
    return helper.call(core.cancel_order, arguments)
  end

  it("are those of ca_file or ca_path, instead of the system's", function()
    assert.equal("accepted", call{ ca_file = fault.ca_file }.outcome)
    assert.equal("accepted", call{ ca_path = fault.ca_path }.outcome)
    local _, err = call()
    assert.same({ "not_sent", "tls", false }, { err.outcome, err.kind, err.retryable })
    local empty = os.tmpname()
    _, err = call{ ca_file = empty }
    assert.same({ "not_sent", "tls" }, { err.outcome, err.kind })
    os.remove(empty)
    _, err = call{ ca_file = "/does/not/exist.pem" }
    assert.same({ "not_sent", "invalid", "ca_file" }, { err.outcome, err.kind, err.field })
    assert.is_truthy(err.message:find("/does/not/exist.pem", 1, true))
    _, err = call{ ca_path = "/does/not/exist" }
    assert.same({ "not_sent", "invalid", "ca_path" }, { err.outcome, err.kind, err.field })
  end)
end)

describe("a proxy", function()
  it("is asked for a tunnel, is told the password, and is never shown the token", function()
    local proxy = fault.serve{ script = "conn:request() conn:write(shared.answer) conn:eof()", shared = {
      answer = helper.response(403),
    } }
    local url = ("http://user:%s@127.0.0.1:%d"):format(PASSWORD, proxy.port)
    local _, err = helper.call(core.cancel_order, helper.arguments(secure, { proxy = url, ca_file = fault.ca_file }))
    assert.same({ "not_sent", "proxy", false }, { err.outcome, err.kind, err.retryable })
    local where = ("through the proxy 127.0.0.1:%d: the proxy answered HTTP 403"):format(proxy.port)
    assert.is_truthy(err.message:find(where, 1, true), err.message)
    local data = proxy:record().conns[1].data
    assert.is_truthy(data:find("^CONNECT 127%.0%.0%.1:" .. secure.port))
    assert.is_truthy(data:find("Proxy-Authorization: Basic ", 1, true))
    assert.is_nil(data:find(helper.TOKEN, 1, true))
    proxy:close()
  end)

  it("that nobody is at, or whose name does not resolve, is kind proxy, and its password not told", function()
    local port = fault.refused_port()
    for _, host in ipairs{ "127.0.0.1:" .. port, "no-such-host.invalid:1" } do
      local url = ("http://user:%s@%s"):format(PASSWORD, host)
      local _, err = helper.call(core.cancel_order, helper.arguments(secure, { proxy = url, ca_file = fault.ca_file }))
      assert.same({ "not_sent", "proxy" }, { err.outcome, err.kind })
    end
  end)

  it("never gets a call by http", function()
    local url = "http://127.0.0.1:" .. fault.refused_port()
    for _, fn in ipairs{ core.cancel_order, crux.cancel_order } do
      assert.equal("accepted", helper.call(fn, helper.arguments(server, { proxy = url })).outcome)
    end
  end)
end)

-- In children, whose environment is not this process's.
describe("the environment", function()
  local PRELUDE = [[
    local crux, core = require "crux", require "crux.core"
    local U = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
    local function say(result, err)
      if result then print(result.outcome or result.url or "client") else print(tostring(err) .. " ["
        .. tostring(err.field) .. "]") end
    end
    local function url(options) say(crux.new(options):dry_run("get_order", { order_uuid = U })) end
  ]]
  local function child(source, environment) return helper.child(PRELUDE .. source, environment) end
  local PATH = "/orders/" .. U .. "/"

  it("says where to, unless an option does", function()
    local environment = { CRUX_BASE_URL = "https://from.the.environment/x/" }
    assert.equal("https://from.the.environment/x" .. PATH, child("url()", environment))
    assert.equal("https://option" .. PATH, child("url{ base_url = 'https://option' }", environment))
    assert.equal("https://call" .. PATH,
      child("say(crux.new():dry_run('get_order', { order_uuid = U, base_url = 'https://call' }))", environment))
  end)

  it("counts as unset where it is empty", function()
    local environment = { CRUX_BASE_URL = "", CRUX_TOKEN = "", https_proxy = "", HTTPS_PROXY = "", no_proxy = "" }
    assert.equal(crux.SANDBOX .. PATH, child("url()", environment))
    environment.CRUX_BASE_URL = server.base_url
    assert.equal("not_sent (auth): expected a token, found none [nil]",
      child("say(crux.cancel_order{ order_uuid = U })", environment))
  end)

  it("gives the token, unless an option does", function()
    local environment = { CRUX_BASE_URL = server.base_url, CRUX_TOKEN = "token-of-the-environment" }
    local source = [[
      say(crux.cancel_order{ order_uuid = U })
      say(crux.cancel_order{ order_uuid = U, token = "token-of-the-call" })
      local client = crux.new{ token = function() return "token-of-the-client" end }
      say(client:cancel_order{ order_uuid = U })
      client = crux.new()
      say(client:get_order{ order_uuid = U })]]
    helper.new_requests(server)
    assert.equal(("accepted\n"):rep(3) .. "accepted", child(source, environment))
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do
      tokens[#tokens + 1] = sent:match("Token token%-of%-the%-(%S+)")
    end
    table.sort(tokens)
    assert.same({ "call", "client", "environment", "environment" }, tokens)
  end)

  it("is named where it is at fault, and its value is not told", function()
    helper.watch("bad token")
    assert.is_truthy(child("say(crux.new())",
      { CRUX_TOKEN = "bad token" }):find("^not_sent %(invalid%): token: .* in CRUX_TOKEN %[token%]$"))
    assert.is_truthy(child("say(crux.new())", { CRUX_TOKEN = "token-out-of-a-file\n" })
      :find("found a string of 20 bytes that ends in a newline, in CRUX_TOKEN", 1, true))
    assert.is_truthy(child("say(crux.new())", { CRUX_BASE_URL = "h.example" })
      :find("found 'h.example': write 'https://h.example', in CRUX_BASE_URL", 1, true))
    assert.is_truthy(child("say(crux.new())",
      { CRUX_BASE_URL = "http://example.com" }):find("base_url: .* in CRUX_BASE_URL %[base_url%]$"))
    assert.is_truthy(child("say(crux.new())",
      { https_proxy = "ftp://u:" .. PASSWORD .. "@h" }):find("proxy: .* in https_proxy.* %[proxy%]$"))
    -- what is overridden is not looked at
    local environment = { CRUX_TOKEN = "bad token", CRUX_BASE_URL = "bad" }
    local source = ("say(crux.cancel_order{ order_uuid = U, token = 't', base_url = %q })"):format(server.base_url)
    assert.equal("accepted", child(source, environment))
    assert.equal("client", child("say(crux.new{ token = 't', base_url = 'https://h' })", environment))
  end)

  it("is not read by crux.core", function()
    local environment = {
      CRUX_TOKEN = "token-of-the-environment", CRUX_BASE_URL = "bad",
        https_proxy = "http://127.0.0.1:" .. fault.refused_port(),
    }
    environment.HTTPS_PROXY, environment.ALL_PROXY, environment.all_proxy = environment.https_proxy,
      environment.https_proxy, environment.https_proxy
    assert.equal("not_sent (auth): expected a token, found none [nil]",
      child("say(core.cancel_order{ order_uuid = U })", environment))
    local call = ("{ order_uuid = U, token = 't', base_url = %q, ca_file = %q, %%s }"):format(secure.base_url,
      fault.ca_file)
    assert.equal("accepted", child("say(core.cancel_order" .. call:format("") .. ")", environment))
  end)

  it("names a proxy for https, which an option overrides, and whom it is not for", function()
    local refused = "http://u:" .. PASSWORD .. "@127.0.0.1:" .. fault.refused_port()
    local call = "{ order_uuid = U, token = 't', retries = 0, base_url = %q, ca_file = %q, %%s }"
    call = call:format(secure.base_url, fault.ca_file)
    local plain = ("{ order_uuid = U, token = 't', base_url = %q }"):format(server.base_url)
    for _, name in ipairs{ "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" } do
      assert.is_truthy(child("say(crux.cancel_order" .. call:format("") .. ")",
        { [name] = refused }):find("^not_sent %(proxy%)"), name)
    end
    local both = { https_proxy = refused, http_proxy = refused, ALL_PROXY = refused }
    assert.equal("accepted", child("say(crux.cancel_order" .. call:format("proxy = ''") .. ")", both))
    assert.equal("accepted", child("say(crux.cancel_order" .. plain .. ")", both))
    assert.equal("accepted", child("say(crux.cancel_order" .. call:format("") .. ")", { http_proxy = refused,
      HTTP_PROXY = refused }))
    for _, name in ipairs{ "no_proxy", "NO_PROXY" } do
      for _, hosts in ipairs{ "127.0.0.1", "*", "example.com,127.0.0.1" } do
        assert.equal("accepted", child("say(crux.cancel_order" .. call:format("") .. ")", { https_proxy = refused,
          [name] = hosts }))
      end
    end
    assert.is_truthy(child("say(crux.cancel_order" .. call:format("") .. ")", { https_proxy = refused,
      no_proxy = "example.com" })
      :find("^not_sent %(proxy%)"))
  end)

  it("may change between calls", function()
    -- os.setenv there is none: what os.getenv says is what counts
    local source = ([[
      local getenv = os.getenv
      local said = {}
      os.getenv = function(name) return said[name] end
      said.CRUX_BASE_URL, said.CRUX_TOKEN = %q, "first-token"
      say(crux.cancel_order{ order_uuid = U })
      said.CRUX_TOKEN = "second-token"
      say(crux.cancel_order{ order_uuid = U })
      said.CRUX_TOKEN = nil
      say(crux.cancel_order{ order_uuid = U })
      os.getenv = getenv]]):format(server.base_url)
    helper.new_requests(server)
    assert.equal("accepted\naccepted\nnot_sent (auth): expected a token, found none [nil]", child(source))
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do tokens[#tokens + 1] = sent:match("Token (%S+)") end
    assert.same({ "first-token", "second-token" }, tokens)
  end)
end)

-- Lua holds copies of its own, which are the host's.
it("a token and a proxy's password are wiped from memory with the client's settings", function()
  local object = forks.compile("secrets.c", helper.curl_libs)
  finally(function() os.remove(object) end)
  local leaves = assert(package.loadlib(object, "luaopen_secrets"))()
  local token, proxy = "a-token", "http://me:password@127.0.0.1"
  assert.is_false(leaves(token, proxy, token))
  assert.is_false(leaves(token, proxy, "password"))
end)
